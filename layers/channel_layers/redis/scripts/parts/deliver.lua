-- One entry into the inbox of a process: 1, 0 if the process is gone, -1 if its inbox is full.
-- An inbox that is full is told so once; whoever reads it then knows that messages are missing.
local function deliver(process, limit, ...)
  local inbox = base .. 'i:' .. process
  local waiting = call('XLEN', inbox)
  if waiting >= limit then
    if waiting == limit then call('XADD', inbox, 'NOMKSTREAM', '*', 'full', '') end
    return -1
  end
  if call('XADD', inbox, 'NOMKSTREAM', '*', ...) then return 1 end
  return 0
end
