-- An event for the routers, if there are any.
--
-- KEYS  1 pool stream
-- ARGV  1 group of the routers  2 name  3 payload
-- Returns its id, or nil.
if redis.replicate_commands then redis.replicate_commands() end

-- include group.lua
if not find_group(KEYS[1], ARGV[1]) then return false end
return redis.call('XADD', KEYS[1], '*', 'n', ARGV[2], 'p', ARGV[3])
