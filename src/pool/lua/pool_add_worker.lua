-- A worker of a node joins its pool.
--
-- KEYS  1 node-keepalive  2 worker-keepalive  3 workers  4 shutdown  5 worker stream
-- ARGV  1 node id  2 worker id  3 init event
-- Returns {"ok", time of its creation in ns}, {"shutting_down"} or {"gone"}: the node is not in the
-- pool.
if redis.replicate_commands then redis.replicate_commands() end

-- include pool.lua
local alive, workers = pool_map(KEYS[2]), pool_map(KEYS[3])
if map_fault then return map_fault end

if redis.call('HEXISTS', KEYS[4], 'shutdown') == 1 then return {'shutting_down'} end
if redis.call('HEXISTS', KEYS[1], ARGV[1]) == 0 then return {'gone'} end
local now = ns_text(now_us())
-- The keep-alive first: whoever sees the worker must see it alive.
map_set(alive, ARGV[2], now)
map_close(alive)
map_set(workers, ARGV[2], now)
map_close(workers)
redis.call('XADD', KEYS[5], '*', 'n', 'i', 'p', ARGV[3])
return {'ok', now}
