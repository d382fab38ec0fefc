-- include map.lua
-- include map_batch.lua
-- include digits.lua
-- What scripts of pools have in common.

-- A map by its content's key.
local function pool_map(content)
  return map_open(content, string.sub(content, 1, -8) .. 'updates')
end

-- The same, to look at many keys and change them.
local function pool_batch(content, keys)
  return batch_open(content, string.sub(content, 1, -8) .. 'updates', keys)
end

-- Microseconds of the server's clock; they fit in a Lua number.
local function now_us()
  local now = redis.call('TIME')
  return now[1] * 1000000 + now[2]
end

-- Nanoseconds as digits: they do not fit.
local function ns_text(us) return string.format('%.0f', us) .. '000' end

-- Whether a guard still holds.  What is no number holds for ever, as it does for all peers.
local function holds(guard, now)
  return guard and (not string.find(guard, '^%d+$') or digits_less(now, guard))
end
