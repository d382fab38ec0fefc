-- A node leaves, or is dead.
--
-- KEYS  1 node-keepalive  2 node stream
-- ARGV  1 node id  2 its keep-alive as it was seen, "" for whatever it is
-- Returns 1 if it was removed, else 0.
if redis.replicate_commands then redis.replicate_commands() end

-- include pool.lua
local nodes = pool_map(KEYS[1])
if map_fault then return map_fault end
if ARGV[2] ~= '' and redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then return 0 end
local there = map_del(nodes, ARGV[1])
map_close(nodes)
redis.call('DEL', KEYS[2])
return there and 1 or 0
