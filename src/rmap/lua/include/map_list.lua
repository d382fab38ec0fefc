-- Keys of maps whose values are lists of texts:
--
--   local owned = map_list(jobs, worker)
--   if map_fault then return map_fault end
--   list_add(owned, ARGV, 3, #ARGV)
--   map_set_list(jobs, worker, owned)
--
-- include map.lua
-- include list.lua

-- The list under a key, empty without it.  One that cannot be written again is a fault of the map.
local function map_list(map, key)
  local value = redis.pcall('HGET', map.content, key)
  if type(value) == 'table' then return {} end  -- map_open has found it
  local list = list_of(value)
  local writable = list ~= nil
  for _, item in ipairs(list or {}) do writable = writable and type(item) == 'string' end
  if writable then return list end
  map_fault = map_fault or {err = 'WRONGTYPE the value of ' .. key .. ' is no list of texts'}
  return {}
end

-- The list is the key's value from now on; without items there is no key.
local function map_set_list(map, key, list)
  if #list == 0 then return map_del(map, key) end
  map_set(map, key, cjson.encode(list))
end
