-- The pool is to be shut down.
--
-- KEYS  1 shutdown
-- ARGV  1 node id
if redis.replicate_commands then redis.replicate_commands() end

-- include pool.lua
local shutdown = pool_map(KEYS[1])
if map_fault then return map_fault end
if redis.call('HEXISTS', KEYS[1], 'shutdown') == 0 then
  map_set(shutdown, 'shutdown', ARGV[1])
  map_close(shutdown)
end
return 1
