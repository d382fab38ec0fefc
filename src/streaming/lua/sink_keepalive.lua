-- Renews a consumer's keep-alive, unless it was removed: then somebody has declared us dead.
--
-- KEYS  1 keep-alive map of the sink
-- ARGV  1 consumer  2 channel of the map
-- Returns 1; 0 when the entry is gone; 2 when the server has no memory for a new value, which
-- shows that we are in touch with it all the same.
if redis.replicate_commands then redis.replicate_commands() end

local map, consumer = KEYS[1], ARGV[1]
if redis.call('HEXISTS', map, consumer) == 0 then return 0 end

local function pack(text) return struct.pack('<i4', #text) .. text end

local now = redis.call('TIME')
local value = now[1] .. string.format('%06d', now[2]) .. '000'
local set = redis.pcall('HSET', map, consumer, value)
if type(set) == 'table' and set.err then
  if string.find(set.err, 'OOM', 1, true) then return 2 end
  return set
end
local rev = string.format('%.0f', redis.call('HINCRBY', map, '=rev', 1))
redis.call('HSET', map, '=kind', 'set')
redis.call('PUBLISH', ARGV[2], 'set:' .. pack(consumer) .. pack(value) .. pack(rev))
return 1
