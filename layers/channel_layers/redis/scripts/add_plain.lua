-- Make a plain channel a member of a group.
-- KEYS: group   ARGV: base, group, channel, capacity, lifetime, ttl of the group
local key, lapses = base .. 'm:' .. ARGV[2], now_ms() + ARGV[5]
for _, member in ipairs(call('ZRANGE', key, 0, -1)) do
  if string.match(member, '^%d+:(.*)$') == ARGV[3] then call('ZREM', key, member) end
end
call('ZADD', key, lapses, ARGV[4] .. ':' .. ARGV[3])
call('SADD', KEYS[1], '!')
keep(key, ARGV[6])
keep(KEYS[1], ARGV[6])
return 1
