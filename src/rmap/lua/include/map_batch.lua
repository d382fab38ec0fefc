-- Maps of which many keys are looked at and changed in one script run: one command reads them, and two
-- write them.
--
--   local guards = batch_open(KEYS[1], ARGV[1], keys)
--   if map_fault then return map_fault end
--   if not guards.values[key] then batch_set(guards, key, value) end
--   batch_close(guards)
--
-- No more keys to look at or to set than some thousand: Lua's stack must hold them.
--
-- include map.lua

-- `values`: of the keys as they are now, changes of this run included; false or nil: none.
local function batch_open(content, channel, keys)
  local found = redis.pcall('HMGET', content, '=rev', unpack(keys))
  local map = map_at(content, channel, found.err and found or found[1] or '0')
  map.values, map.changed = {}, {}
  for i, key in ipairs(keys) do map.values[key] = found[i + 1] end
  return map
end

local function batch_set(map, key, value)
  map.values[key] = value
  map.changed[key] = true
  map_note(map, key, value)
end

-- Whether the key was there; nothing happens if it was not.
local function batch_del(map, key)
  if not map.values[key] then return false end
  map.values[key] = false
  map.changed[key] = true
  map_note(map, key)
  return true
end

local function batch_close(map)
  local gone, fields = {}, {}
  for key in pairs(map.changed) do
    local value = map.values[key]
    if value then
      fields[#fields + 1] = key
      fields[#fields + 1] = value
    else
      gone[#gone + 1] = key
    end
  end
  for first = 1, #gone, 1000 do
    redis.call('HDEL', map.content, unpack(gone, first, math.min(first + 999, #gone)))
  end
  map_close(map, nil, nil, fields)
end
