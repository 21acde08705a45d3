-- A frame for one process.
-- KEYS: inbox   ARGV: base, process, frame, limit
-- -> 1, 0 if the process is gone, -1 if its inbox is full
return deliver(ARGV[2], tonumber(ARGV[4]), 'd', ARGV[3])
