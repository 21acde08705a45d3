-- A frame for a plain channel.
-- KEYS: list   ARGV: base, channel, frame, capacity, expiry, producer, number, ttl
-- -> {whether it fitted, how many had expired}
if repeated(ARGV[6], ARGV[7], ARGV[8]) then return {1, 0} end
return {push(ARGV[2], ARGV[3], tonumber(ARGV[4]), now_ms(), tonumber(ARGV[5]))}
