-- End the membership of a process, unless it was added again and does not know of it yet
-- (`add_member` counts).
-- KEYS: group   ARGV: base, process, additions that it knows of
if (call('GET', base .. 'n:' .. ARGV[2]) or '0') ~= ARGV[3] then return 0 end
return call('SREM', KEYS[1], ARGV[2])
