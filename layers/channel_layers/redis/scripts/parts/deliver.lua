-- One entry into the inbox of a process: 1, 0 if the process is gone, -1 if its inbox is full.
-- An inbox that is full is told so; whoever reads that knows that messages are missing there.
local function deliver(process, limit, ...)
  local inbox = base .. 'i:' .. process
  if call('XLEN', inbox) >= limit then
    local newest = call('XREVRANGE', inbox, '+', '-', 'COUNT', 1)[1]
    if not newest or newest[2][1] ~= 'full' then call('XADD', inbox, 'NOMKSTREAM', '*', 'full', '') end
    return -1
  end
  if call('XADD', inbox, 'NOMKSTREAM', '*', ...) then return 1 end
  return 0
end
