-- Make a process a member and tell it which channel of its that is for.
-- KEYS: group   ARGV: base, process, frame, ttl of the group, ttl of the count
if not call('XADD', base .. 'i:' .. ARGV[2], 'NOMKSTREAM', '*', 'a', ARGV[3]) then return 0 end
call('SADD', KEYS[1], ARGV[2])
call('PEXPIRE', KEYS[1], ARGV[4])
call('INCR', base .. 'n:' .. ARGV[2])
call('PEXPIRE', base .. 'n:' .. ARGV[2], ARGV[5])
return 1
