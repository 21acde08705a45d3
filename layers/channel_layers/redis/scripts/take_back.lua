-- Frames of a plain channel that nobody read go back to its head.
-- KEYS: list
-- ARGV: base, channel, producer, number, ttl, process, expiry, pairs of receipt and element...
if repeated(ARGV[3], ARGV[4], ARGV[5]) then return 0 end
for index = #ARGV - 1, 8, -2 do
  if ARGV[index] == '' or call('HDEL', base .. 'u:' .. ARGV[6], ARGV[index]) == 1 then
    call('LPUSH', KEYS[1], ARGV[index + 1])
  end
end
call('PEXPIRE', KEYS[1], 2 * ARGV[7] + 60000)
wake(ARGV[2])
return 1
