-- A message in the list of a plain channel is "<milliseconds>:<frame>".
local function sent_at(element)
  return tonumber(string.match(element, '^(%d+):')) or 0
end
