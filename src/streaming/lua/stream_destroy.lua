-- Deletes a stream, and tells those who follow the map of its consumers.
-- KEYS[1] stream   KEYS[2] content of the consumers map
-- ARGV[1] channel of the consumers map
-- Returns whether the stream existed.
local existed = redis.call('DEL', KEYS[1])
if redis.call('EXISTS', KEYS[2]) == 1 then
  local rev = redis.call('HINCRBY', KEYS[2], '=rev', 1)
  redis.call('DEL', KEYS[2])
  redis.call('HSET', KEYS[2], '=rev', rev, '=kind', 'destroy')
  redis.call('PUBLISH', ARGV[1], 'destroy:' .. string.format('%.0f', rev))
end
return existed
