-- All nodes have left: the pool goes.
--
-- KEYS  1 pool stream  2 consumers map of that stream  3 keep-alive map of the routers' sink
--       4 lease and  5 restart marker of that sink  6... maps, node-keepalive first, then streams
-- ARGV  1 group of the routers  2 number of maps  3 "1": only what has come back since it went
if redis.replicate_commands then redis.replicate_commands() end

-- include pool.lua
-- include list.lua
local consumers, alive = pool_map(KEYS[2]), pool_map(KEYS[3])
local maps = {}
local first_stream = 6 + ARGV[2]
for i = 6, first_stream - 1 do maps[#maps + 1] = pool_map(KEYS[i]) end
if map_fault then return map_fault end
if ARGV[3] == '1' then
  if redis.call('HGET', KEYS[6], '=kind') ~= 'destroy' then return 0 end
  maps = {}
end

-- Other pools have sinks of this name, too: only our consumers leave.
for _, consumer in ipairs(list_of(redis.call('HGET', KEYS[2], ARGV[1])) or {}) do
  if type(consumer) == 'string' then map_del(alive, consumer) end
end
map_close(alive)
if redis.call('EXISTS', KEYS[2]) == 1 then
  map_empty(consumers, 'destroy')
  map_close(consumers)
end
for _, map in ipairs(maps) do
  map_empty(map, 'destroy')
  map_close(map)
end
redis.call('DEL', KEYS[1], KEYS[4], KEYS[5])
for i = first_stream, #KEYS do redis.call('DEL', KEYS[i]) end
return 1
