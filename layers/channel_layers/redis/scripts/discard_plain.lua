-- End the membership of a plain channel.
-- KEYS: group   ARGV: base, group, channel
local key = base .. 'm:' .. ARGV[2]
for _, member in ipairs(call('ZRANGE', key, 0, -1)) do
  if string.match(member, '^%d+:(.*)$') == ARGV[3] then call('ZREM', key, member) end
end
if call('EXISTS', key) == 0 then call('SREM', KEYS[1], '!') end
return 1
