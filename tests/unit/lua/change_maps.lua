-- Changes two maps in one run, as told.
--
-- KEYS  1, 2 contents
-- ARGV  1, 2 channels  3 TTL  4 "1": a sliding one  5... what to do, in fours: map, operation, key, value
-- include map_list.lua
local maps = {map_open(KEYS[1], ARGV[1]), map_open(KEYS[2], ARGV[2])}
local lists = {map_list(maps[1], 'list'), map_list(maps[2], 'list')}
if map_fault then return map_fault end

local results = {}
for i = 5, #ARGV, 4 do
  local n, operation, key = tonumber(ARGV[i]), ARGV[i + 1], ARGV[i + 2]
  local map, result = maps[n], 1
  if operation == 'set' then
    map_set(map, key, ARGV[i + 3])
  elseif operation == 'del' then
    result = map_del(map, key) and 1 or 0
  elseif operation == 'add' then
    result = list_add(lists[n], ARGV, i + 3, i + 3) and 1 or 0
  elseif operation == 'take' then
    lists[n] = list_without(lists[n], ARGV, i + 3, i + 3)
  elseif operation == 'write' then
    map_set_list(map, 'list', lists[n])
  else
    map_empty(map, operation)
  end
  results[#results + 1] = result
end
for _, map in ipairs(maps) do map_close(map, ARGV[3], ARGV[4] == '1') end
results[#results + 1] = maps[1].rev
results[#results + 1] = maps[2].rev
return results
