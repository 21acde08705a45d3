-- Frames of a plain channel for a process with readers that wait; it is woken if there are too
-- few. The answer is kept under a number until the next one of that channel: should it get lost,
-- the process asks again with the same number. A pull that comes after a newer one is a repeat
-- whose connection has ended: it must take nothing. Numbers are too long for a Lua number, and
-- all of one length.
-- KEYS: list   ARGV: base, channel, process, number, count, expiry, ttl, whether to keep unacknowledged
-- -> {expired, now, element, element...}
local channel, process, number, count = ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[5])
local claims, waiting = base .. 'k:' .. process, base .. 'w:' .. channel
local claim = call('HGET', claims, channel)
if claim then
  claim = cmsgpack.unpack(claim)
  if claim[1] >= number then return claim[2] end
end
local now = now_ms()
local cut = now - ARGV[6]
local expired = 0
local answer = {0, string.format('%.0f', now)}
while #answer - 2 < count do
  local element = call('LPOP', KEYS[1])
  if not element then break end
  if sent_at(element) > cut then
    table.insert(answer, element)
    if ARGV[8] == '1' then
      call('HSET', base .. 'u:' .. process, channel .. ':' .. number .. ':' .. (#answer - 2),
        cmsgpack.pack({channel, element}))
      keep(base .. 'u:' .. process, 2 * ARGV[6] + 60000)
    end
  else
    expired = expired + 1
  end
end
answer[1] = expired
if #answer - 2 < count then
  call('ZADD', waiting, now, process)
  call('PEXPIRE', waiting, ARGV[7])
else
  call('ZREM', waiting, process)
  if call('EXISTS', KEYS[1]) == 1 then wake(channel) end
end
call('HSET', claims, channel, cmsgpack.pack({number, answer}))
call('PEXPIRE', claims, ARGV[7])
return answer
