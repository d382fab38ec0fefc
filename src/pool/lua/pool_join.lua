-- A node joins its pool, or comes back after it was taken for dead.
--
-- KEYS  1 node-keepalive  2 shutdown  3 routing  4 node-keepalive of the pool without ":rv"
--       5 node stream
-- ARGV  1 node id  2 "jump" or "rendezvous"  3 "1": it was in the pool before
-- Returns {"ok", now in us}, {"shutting_down"} or {"other_routing"}.
if redis.replicate_commands then redis.replicate_commands() end

-- include pool.lua
local nodes, routing = pool_map(KEYS[1]), pool_map(KEYS[3])
if map_fault then return map_fault end

if redis.call('HEXISTS', KEYS[2], 'shutdown') == 1 then return {'shutting_down'} end
-- A pool that was shut down meanwhile must not come to life again.
if ARGV[3] == '1' and redis.call('HGET', KEYS[1], '=kind') == 'destroy' then
  return {'shutting_down'}
end
local marker = redis.call('HGET', KEYS[3], 'routing')
if marker and marker ~= ARGV[2] then return {'other_routing'} end
if ARGV[2] ~= 'jump' then
  -- Nodes of the Go library leave no marker.
  for _, field in ipairs(redis.call('HKEYS', KEYS[4])) do
    if string.sub(field, 1, 1) ~= '=' then return {'other_routing'} end
  end
end
if not marker then
  map_set(routing, 'routing', ARGV[2])
  map_close(routing)
end
local now = now_us()
map_set(nodes, ARGV[1], ns_text(now))
map_close(nodes)
redis.call('XADD', KEYS[5], '*', 'n', 'i', 'p', ARGV[1])
return {'ok', string.format('%.0f', now)}
