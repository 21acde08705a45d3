-- The plain channels in a group.
-- KEYS: group   ARGV: base, group
local names = {}
for _, member in ipairs(call('ZRANGEBYSCORE', base .. 'm:' .. ARGV[2], now_ms(), '+inf')) do
  table.insert(names, string.match(member, '^%d+:(.*)$'))
end
return names
