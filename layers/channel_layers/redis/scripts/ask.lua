-- A frame for every process with members of a group.
-- KEYS: group   ARGV: base, frame, silence
-- -> the processes that have been heard of lately
local alive, since = {}, now_ms() - ARGV[3]
for _, process in ipairs(call('SMEMBERS', KEYS[1])) do
  if process ~= '!' then
    if not call('XADD', base .. 'i:' .. process, 'NOMKSTREAM', '*', 'd', ARGV[2]) then
      call('SREM', KEYS[1], process)
    else
      local heard = call('ZSCORE', base .. 'p', process)
      if heard and tonumber(heard) >= since then table.insert(alive, process) end
    end
  end
end
return alive
