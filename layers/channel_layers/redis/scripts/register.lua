-- Make a process known, or find out whether it still is.
-- KEYS: inbox   ARGV: base, process, ttl, '0' if it has groups to join before it counts as known
-- -> {whether the inbox was there, id of the last entry that it ever had, processes known}
local there = call('EXISTS', KEYS[1])
local last
if there == 1 then
  local info = call('XINFO', 'STREAM', KEYS[1])
  for index = 1, #info, 2 do
    if info[index] == 'last-generated-id' then last = info[index + 1] end
  end
else
  last = call('XADD', KEYS[1], '*', 'born', '')
  call('XTRIM', KEYS[1], 'MAXLEN', 0)
  call('UNLINK', base .. 'n:' .. ARGV[2])
end
call('PEXPIRE', KEYS[1], ARGV[3])
if ARGV[4] ~= '0' then
  call('ZADD', base .. 'p', now_ms(), ARGV[2])
  keep(base .. 'p', ARGV[3])
end
return {there, last, call('ZCARD', base .. 'p')}
