-- Whether this producer's command of this number was carried out before: it is sent again when
-- the connection broke before the answer came. Commands of one producer come in their order.
local function repeated(producer, number, ttl)
  local key = base .. 's:' .. producer
  local last = call('SET', key, number, 'PX', ttl, 'GET')
  if last and tonumber(last) >= tonumber(number) then
    call('SET', key, last, 'PX', ttl)
    return true
  end
  return false
end
