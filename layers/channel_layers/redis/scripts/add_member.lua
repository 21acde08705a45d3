-- Make a process a member and tell it which channel of its that is for, unless it is the process
-- itself that asks and has read its whole inbox: then the answer tells it.
-- KEYS: group
-- ARGV: base, group, process, frame, ttl of the group, ttl of the additions,
--       id of the entry that the process has read last, or nothing
-- -> 0 if the process is gone, 1 if the frame comes, 2 if not
local inbox, additions = base .. 'i:' .. ARGV[3], base .. 'n:' .. ARGV[3]
local answer = 1
if ARGV[7] ~= '' then
  local newest = call('XREVRANGE', inbox, '+', '-', 'COUNT', 1)[1]
  if newest and newest[1] == ARGV[7] or not newest and call('EXISTS', inbox) == 1 then answer = 2 end
end
if answer == 1 then
  local id = call('XADD', inbox, 'NOMKSTREAM', '*', 'a', ARGV[4])
  if not id then return 0 end
  call('HSET', additions, ARGV[2], id)
  call('PEXPIRE', additions, ARGV[6])
end
call('SADD', KEYS[1], ARGV[3])
keep(KEYS[1], ARGV[5])
return answer
