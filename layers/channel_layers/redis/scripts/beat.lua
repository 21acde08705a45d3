-- Show that a process lives, and look after those that do not.
-- KEYS: inbox
-- ARGV: base, process, ttl, silence, expiry, pairs of confirmed claim: channel, number...
-- -> {whether the inbox is there, how many processes are known}
if call('PEXPIRE', KEYS[1], ARGV[3]) == 0 then return {0, 0} end
local process, ttl, now = ARGV[2], ARGV[3], now_ms()
call('ZADD', base .. 'p', now, process)
keep(base .. 'p', ttl)
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
    local pull, place = string.match(pairs_of_it[index], ':(%d+):(%d+)$')
    table.insert(back, {sent_at(element), pull, tonumber(place), channel, element})
  end
  -- The newest first. Numbers of pulls are too long for a Lua number, and all of one length.
  table.sort(back, function(one, other)
    if one[1] ~= other[1] then return one[1] > other[1] end
    if one[2] ~= other[2] then return one[2] > other[2] end
    return one[3] > other[3]
  end)
  for _, entry in ipairs(back) do
    call('LPUSH', base .. 'c:' .. entry[4], entry[5])
    call('PEXPIRE', base .. 'c:' .. entry[4], 2 * ARGV[5] + 60000)
    wake(entry[4])
  end
  -- Its claims and additions stay until they lapse: should it live after all, it asks for the
  -- answers that it has missed, and needs the additions to leave.
  call('DEL', unfinished)
  call('ZREM', base .. 'p', dead)
end
return {1, call('ZCARD', base .. 'p')}
