-- Put a frame into a plain channel: 1, or 0 if it is full; and how many had expired.
local function push(channel, frame, capacity, now, expiry)
  local list, expired = base .. 'c:' .. channel, 0
  if call('LLEN', list) >= capacity then
    expired = drop_expired(list, now - expiry)
    if call('LLEN', list) >= capacity then return 0, expired end
  end
  call('RPUSH', list, string.format('%.0f:', now) .. frame)
  call('PEXPIRE', list, 2 * expiry + 60000)
  wake(channel)
  return 1, expired
end
