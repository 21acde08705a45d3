-- Tell one process that waits for it that a plain channel has a message.
local function wake(channel)
  while true do
    local waiting = call('ZPOPMIN', base .. 'w:' .. channel)
    if not waiting[1] then return end
    if call('XADD', base .. 'i:' .. waiting[1], 'NOMKSTREAM', '*', 'wanted', channel) then return end
  end
end
