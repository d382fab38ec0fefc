-- Changes many keys of a map in one run.
--
-- KEYS  1 content
-- ARGV  1 channel  2 number of keys to look at, the keys, then what to do, in threes: operation, key,
--       value
-- Returns for each "get" the value, for each "del" 1 or 0, then the revision.
-- include map_batch.lua
local keys = {}
local first = 3 + ARGV[2]
for i = 3, first - 1 do keys[#keys + 1] = ARGV[i] end
local map = batch_open(KEYS[1], ARGV[1], keys)
if map_fault then return map_fault end
local results = {}
for i = first, #ARGV, 3 do
  local operation, key = ARGV[i], ARGV[i + 1]
  if operation == 'set' then
    batch_set(map, key, ARGV[i + 2])
  elseif operation == 'del' then
    results[#results + 1] = batch_del(map, key) and 1 or 0
  else
    results[#results + 1] = map.values[key] or ''
  end
end
batch_close(map)
results[#results + 1] = map.rev
return results
