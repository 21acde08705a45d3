-- Let a key last at least so long from now; who needs it for longer has said so before.
local function keep(key, ttl)
  if call('PTTL', key) < tonumber(ttl) then call('PEXPIRE', key, ttl) end
end
