-- A node and its workers are alive.
--
-- KEYS  1 node-keepalive  2 worker-keepalive  3 workers  4 node stream
-- ARGV  1 node id  2... ids of its workers
-- Returns {0} when the node is not in the pool any more (nothing is written), else {1, now in us,
-- for each worker 1 if it still is}.
if redis.replicate_commands then redis.replicate_commands() end

-- include pool.lua
local nodes, alive = pool_map(KEYS[1]), pool_map(KEYS[2])
if map_fault then return map_fault end

if redis.call('HEXISTS', KEYS[1], ARGV[1]) == 0 then return {0} end
local us = now_us()
local now = ns_text(us)
map_set(nodes, ARGV[1], now)
map_close(nodes)
local result = {1, string.format('%.0f', us)}
for i = 2, #ARGV do
  local there = redis.call('HEXISTS', KEYS[3], ARGV[i])
  if there == 1 then map_set(alive, ARGV[i], now) end
  result[#result + 1] = there
end
map_close(alive)
if redis.call('EXISTS', KEYS[4]) == 0 then
  redis.call('XADD', KEYS[4], '*', 'n', 'i', 'p', ARGV[1])
end
return result
