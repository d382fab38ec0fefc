-- include pool.lua
-- Puts jobs back into the queue.

-- Nanoseconds of a point in time as 8 bytes, the lowest first.
local function pack_ns(us)
  local low = us % 16777216 * 1000  -- below 2^34
  local high = math.floor(us / 16777216) * 1000 + math.floor(low / 16777216)
  low = low % 16777216
  return struct.pack('<I3', low) ..
      struct.pack('<I4I1', high % 4294967296, math.floor(high / 4294967296))
end

local function sized(text) return size(text) .. text end

-- The event that starts a job again; `node`: who gets the answer.
local function requeue(stream, node, key, payload, us)
  redis.call('XADD', stream, '*', 'n', 'j', 'p',
             sized(key) .. sized(node) .. sized(payload) .. pack_ns(us) .. '\1')
end
