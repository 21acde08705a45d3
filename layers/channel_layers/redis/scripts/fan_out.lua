-- A frame for every process with members of a group; those that are gone are forgotten.
-- KEYS: group
-- ARGV: base, group, frame, limit, expiry, forward, producer, number, ttl,
--       history size, history keep, new epoch
-- -> {processes reached, inboxes that were full, plain channels that were full,
--     messages in plain channels that had expired, plain channels to forward to...}
local group, frame, limit = ARGV[2], ARGV[3], tonumber(ARGV[4])
local members = call('SMEMBERS', KEYS[1])
local plain = false
for _, member in ipairs(members) do plain = plain or member == '!' end
local size = tonumber(ARGV[10])
local forward = ARGV[6] == '1'
local fields = {'d', frame}
local done_before = (size > 0 or plain and not forward) and repeated(ARGV[7], ARGV[8], ARGV[9])
if done_before then
  -- Only what the sender has to do itself may be left to do.
  if not (plain and forward) then return {1, 0, 0, 0} end
  members, size = {}, 0
end
if size > 0 then
  local log, state = base .. 'h:' .. group, base .. 'o:' .. group
  local epoch = call('HGET', state, 'epoch')
  if not epoch then
    epoch = ARGV[12]
    call('DEL', log)
    call('HSET', state, 'epoch', epoch)
  end
  local offset = call('HINCRBY', state, 'offset', 1)
  call('XADD', log, 'MAXLEN', size, string.format('%.0f-1', offset),
    't', string.format('%.0f', now_ms()), 'd', frame)
  call('PEXPIRE', log, ARGV[11])
  call('PEXPIRE', state, ARGV[11])
  fields = {'d', frame, 'p', string.format('%.0f', offset) .. ':' .. epoch}
end
local reached, full = 0, 0
for _, process in ipairs(members) do
  if process ~= '!' then
    local done = deliver(process, limit, unpack(fields))
    if done == 1 then
      reached = reached + 1
    elseif done == -1 then
      full = full + 1
    else
      call('SREM', KEYS[1], process)
    end
  end
end
if done_before then reached = 1 end
local answer = {reached, full, 0, 0}
if plain then
  local key, now = base .. 'm:' .. group, now_ms()
  call('ZREMRANGEBYSCORE', key, '-inf', now)
  local channels = call('ZRANGE', key, 0, -1)
  if #channels == 0 then call('SREM', KEYS[1], '!') end
  for _, member in ipairs(channels) do
    local capacity, channel = string.match(member, '^(%d+):(.*)$')
    if forward then
      table.insert(answer, member)
    else
      local fits, expired = push(channel, frame, tonumber(capacity), now, tonumber(ARGV[5]))
      answer[3] = answer[3] + 1 - fits
      answer[4] = answer[4] + expired
    end
  end
end
return answer
