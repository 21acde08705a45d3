-- All that a group remembers.
-- KEYS: log   ARGV: base, group, keep, new epoch
-- -> {epoch, offset, now, entries}
local state = base .. 'o:' .. ARGV[2]
local epoch = call('HGET', state, 'epoch')
if not epoch then
  epoch = ARGV[4]
  call('DEL', KEYS[1])
  call('HSET', state, 'epoch', epoch, 'offset', 0)
end
call('PEXPIRE', state, ARGV[3])
return {epoch, call('HGET', state, 'offset') or '0', string.format('%.0f', now_ms()),
  call('XRANGE', KEYS[1], '-', '+')}
