-- Show that a process lives, and look after those that do not.
-- KEYS: inbox
-- ARGV: base, process, ttl, silence, expiry, pairs of confirmed claim: channel, number...
-- -> {whether the inbox is there, how many processes are known}
if call('PEXPIRE', KEYS[1], ARGV[3]) == 0 then return {0, 0} end
local process, ttl, now = ARGV[2], ARGV[3], now_ms()
call('ZADD', base .. 'p', now, process)
for _, kind in ipairs({'n:', 'k:'}) do call('PEXPIRE', base .. kind .. process, ttl) end
for index = 6, #ARGV, 2 do
  local claim = call('HGET', base .. 'k:' .. process, ARGV[index])
  if claim and cmsgpack.unpack(claim)[1] == ARGV[index + 1] then
    call('HDEL', base .. 'k:' .. process, ARGV[index])
  end
end
-- What a dead process had not acknowledged goes back to the head of its channel.
for _, dead in ipairs(call('ZRANGEBYSCORE', base .. 'p', '-inf', now - ARGV[4], 'LIMIT', 0, 10)) do
  local unfinished = base .. 'u:' .. dead
  local pairs_of_it = call('HGETALL', unfinished)
  local back = {}
  for index = 1, #pairs_of_it, 2 do
    local channel, element = unpack(cmsgpack.unpack(pairs_of_it[index + 1]))
    table.insert(back, {sent_at(element), channel, element})
  end
  table.sort(back, function(one, other) return one[1] > other[1] end)
  for _, entry in ipairs(back) do
    call('LPUSH', base .. 'c:' .. entry[2], entry[3])
    call('PEXPIRE', base .. 'c:' .. entry[2], 2 * ARGV[5] + 60000)
    wake(entry[2])
  end
  call('DEL', unfinished, base .. 'k:' .. dead, base .. 'n:' .. dead)
  call('ZREM', base .. 'p', dead)
end
return {1, call('ZCARD', base .. 'p')}
