-- Make a process a member of a group.
-- KEYS: group   ARGV: base, process, ttl
call('SADD', KEYS[1], ARGV[2])
keep(KEYS[1], ARGV[3])
return 1
