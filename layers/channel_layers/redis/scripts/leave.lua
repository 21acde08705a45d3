-- End the membership of a process, unless it was added again by an entry that it has yet to read.
-- KEYS: group   ARGV: base, group, process, id of the entry that it has read last
local additions = base .. 'n:' .. ARGV[3]
local added = call('HGET', additions, ARGV[2])
if added then
  local time, number = string.match(added, '(%d+)-(%d+)')
  local read_time, read_number = string.match(ARGV[4], '(%d+)-(%d+)')
  time, read_time = tonumber(time), tonumber(read_time)
  if time > read_time then return 0 end
  if time == read_time and tonumber(number) > tonumber(read_number) then return 0 end
  call('HDEL', additions, ARGV[2])
end
return call('SREM', KEYS[1], ARGV[3])
