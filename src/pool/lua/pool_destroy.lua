-- All nodes have left: the pool goes.
--
-- KEYS  1 pool stream  2... maps
if redis.replicate_commands then redis.replicate_commands() end

-- include pool.lua
local maps = {}
for i = 2, #KEYS do maps[#maps + 1] = pool_map(KEYS[i]) end
if map_fault then return map_fault end
for _, map in ipairs(maps) do
  map_empty(map, 'destroy')
  map_close(map)
end
redis.call('DEL', KEYS[1])
return 1
