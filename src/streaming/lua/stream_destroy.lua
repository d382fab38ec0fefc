-- Deletes a stream, and tells those who follow the map of its consumers.
-- KEYS[1] stream   KEYS[2] content of the consumers map
-- ARGV[1] channel of the consumers map
-- Returns whether the stream existed.

-- include map.lua
local consumers = map_open(KEYS[2], ARGV[1])
if map_fault then return map_fault end

local existed = redis.call('DEL', KEYS[1])
if redis.call('EXISTS', KEYS[2]) == 1 then
  map_empty(consumers, 'destroy')
  map_close(consumers)
end
return existed
