-- Drop what has expired at the head of a plain channel; how many that were.
local function drop_expired(list, cut)
  local expired = 0
  while true do
    local head = call('LINDEX', list, 0)
    if not head or sent_at(head) > cut then return expired end
    call('LPOP', list)
    expired = expired + 1
  end
end
