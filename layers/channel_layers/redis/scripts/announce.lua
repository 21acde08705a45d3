-- A frame for every process.
-- KEYS: processes   ARGV: base, frame, silence
-- -> the processes that have been heard of lately
local alive, since = {}, now_ms() - ARGV[3]
local processes = call('ZRANGE', KEYS[1], 0, -1, 'WITHSCORES')
for index = 1, #processes, 2 do
  local process, heard = processes[index], processes[index + 1]
  if call('XADD', base .. 'i:' .. process, 'NOMKSTREAM', '*', 'd', ARGV[2]) then
    if tonumber(heard) >= since then table.insert(alive, process) end
  end
end
return alive
