-- Renews a consumer's keep-alive, unless it was removed: then somebody has declared us dead.
--
-- KEYS  1 keep-alive map of the sink
-- ARGV  1 consumer  2 channel of the map
-- Returns 1; 0 when the entry is gone; 2 when the server has no memory for a new value, which
-- shows that we are in touch with it all the same.
if redis.replicate_commands then redis.replicate_commands() end

-- include map.lua
-- include time.lua
local consumer = ARGV[1]
local alive = map_open(KEYS[1], ARGV[2])
if map_fault then return map_fault end
if redis.call('HEXISTS', KEYS[1], consumer) == 0 then return 0 end

local value = now_ns()
local set = redis.pcall('HSET', KEYS[1], consumer, value)
if type(set) == 'table' and set.err then
  if string.find(set.err, 'OOM', 1, true) then return 2 end
  return set
end
map_note(alive, consumer, value)
map_close(alive)
return 1
