-- include pool.lua
-- include group.lua
-- include event_id.lua
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

-- The keys whose start is in the queue already: not read by a router yet, or not answered.  Nil when
-- the queue is too long to look through.
local function queued_starts(stream, group)
  local queued, pending = {}, {}
  local info = find_group(stream, group)
  if not info then return queued end
  local last = info['last-delivered-id']
  local most = 5000
  for _, entry in ipairs(redis.call('XPENDING', stream, group, '-', '+', most)) do
    pending[#pending + 1] = entry[1]
    pending[entry[1]] = true
  end
  local entries = redis.call('XRANGE', stream, pending[1] or last, '+', 'COUNT', most)
  if #pending == most or #entries == most then return nil end
  for _, entry in ipairs(entries) do
    local fields = fields_of(entry[2])
    local payload = fields.p or ''
    local waits = pending[entry[1]] or id_less(last, entry[1])
    if waits and fields.n == 'j' and #payload >= 4 then
      queued[string.sub(payload, 5, 4 + struct.unpack('<I4', payload))] = true
    end
  end
  return queued
end
