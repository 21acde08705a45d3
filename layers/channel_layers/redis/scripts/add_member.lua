-- Make a process a member and tell it which channel of its that is for.
-- KEYS: group   ARGV: base, group, process, frame, ttl of the group, ttl of the additions
local additions = base .. 'n:' .. ARGV[3]
local id = call('XADD', base .. 'i:' .. ARGV[3], 'NOMKSTREAM', '*', 'a', ARGV[4])
if not id then return 0 end
call('SADD', KEYS[1], ARGV[3])
keep(KEYS[1], ARGV[5])
call('HSET', additions, ARGV[2], id)
call('PEXPIRE', additions, ARGV[6])
return 1
