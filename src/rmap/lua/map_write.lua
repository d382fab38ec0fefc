-- Changes a replicated map: one or many mutations, one after the other.
--
-- KEYS  1 content  2 update channel
-- ARGV  1 TTL in ms or "0"  2 "1": the TTL is a sliding one  3 longest value in bytes
--       4 "1": all or none  5... mutations, each: name, number of arguments, arguments
--   set key value | setnx key value | tas key test value | inc key delta
--   append key items... | unique key items... | remove key items...
--   del key | tad key test | tar keys... tests... | reset | destroy
--
-- Returns one result for each: an error, or {revision or "0" when nothing was written, existed,
-- updated, value}.  The value: of inc and the list operations the present one, else the previous
-- one; nil when there is none.  All or none: the first error, and nothing is written.
if redis.replicate_commands then redis.replicate_commands() end

-- include map.lua
local map = map_open(KEYS[1], KEYS[2])
if map_fault then return map_fault end
local content = KEYS[1]
local ttl, sliding = ARGV[1], ARGV[2] == '1'

if #ARGV == 8 and ARGV[5] == 'set' then
  -- By far the most frequent one: without the rest of the set-up below.
  local previous = redis.call('HGET', content, ARGV[7])
  map_set(map, ARGV[7], ARGV[8])
  map_close(map, ttl, sliding)
  return {{map.rev, previous and 1 or 0, 1, previous}}
end

-- include map_list.lua
local results = {}

local function nothing_but_sets()
  for i = 5, #ARGV, 4 do
    if ARGV[i] ~= 'set' then return false end
  end
  return true
end

-- Many sets: calls of the server are what takes time, so all share two of them.
local function write_all()
  local count = (#ARGV - 4) / 4
  local per_call = 1000  -- far below what unpack takes
  for first = 1, count, per_call do
    local keys, fields, newest = {}, {}, {}
    for n = first, math.min(first + per_call - 1, count) do keys[#keys + 1] = ARGV[4 * n + 3] end
    local before = redis.call('HMGET', content, unpack(keys))
    for i, key in ipairs(keys) do
      local value = ARGV[4 * (first + i)]
      local previous = newest[key] or before[i]
      newest[key] = value
      fields[2 * i - 1], fields[2 * i] = key, value
      map_note(map, key, value)
      results[#results + 1] = {map.rev, previous and 1 or 0, 1, previous}
    end
    redis.call('HSET', content, unpack(fields))
  end
end

local longest, atomic = tonumber(ARGV[3]), ARGV[4] == '1'
local undo = {}

local function remember(key, previous)
  if atomic then undo[#undo + 1] = {key, previous} end
end

local function empty(what)
  map_empty(map, what)
  return {map.rev, 0, 1, false}
end

local no_list = {err = 'WRONGTYPE the value is a JSON object, not a list'}
local no_text = {err = 'WRONGTYPE the list has items that cannot be written as JSON'}

local function append(key, first, last, unique)
  local current = redis.call('HGET', content, key)
  local existed = current and 1 or 0
  if first > last then return {'0', existed, 0, current} end
  local list = list_of(current)
  if not list then return no_list end
  if unique then
    if not list_add(list, ARGV, first, last) then return {'0', existed, 0, current} end
  else
    for i = first, last do list[#list + 1] = ARGV[i] end
  end
  local encoded = list_text(list)
  if not encoded then return no_text end
  if #encoded > longest then
    return {err = 'TOOLARGE the list of ' .. #encoded .. ' bytes is larger than ' .. longest}
  end
  remember(key, current)
  map_set(map, key, encoded)
  return {map.rev, existed, 1, encoded}
end

local function remove(key, first, last)
  local current = redis.call('HGET', content, key)
  if not current then return {'0', 0, 0, false} end
  if first > last then return {'0', 1, 0, current} end
  local list = list_of(current)
  if not list then return no_list end
  local kept = list_without(list, ARGV, first, last)
  if #kept == #list then return {'0', 1, 0, current} end
  if #kept == 0 then
    remember(key, current)
    map_del(map, key)
    return {map.rev, 1, 1, false}
  end
  local encoded = list_text(kept)
  if not encoded then return no_text end
  remember(key, current)
  map_set(map, key, encoded)
  return {map.rev, 1, 1, encoded}
end

-- The mutation `op` with its arguments ARGV[first] to ARGV[last].
local function run(op, first, last)
  local key = ARGV[first]
  if op == 'append' then return append(key, first + 1, last, false) end
  if op == 'unique' then return append(key, first + 1, last, true) end
  if op == 'remove' then return remove(key, first + 1, last) end
  if op == 'reset' or op == 'destroy' then return empty(op) end
  if op == 'tar' then
    local n = (last - first + 1) / 2
    for i = first, first + n - 1 do
      if redis.call('HGET', content, ARGV[i]) ~= ARGV[i + n] then return {'0', 0, 0, false} end
    end
    return empty('reset')
  end

  local previous = redis.call('HGET', content, key)
  local existed = previous and 1 or 0
  local nothing = {'0', existed, 0, previous}
  if op == 'inc' then
    local done = redis.pcall('HINCRBY', content, key, ARGV[first + 1])
    if type(done) == 'table' then
      if string.find(done.err, 'not an integer', 1, true) then
        return {err = 'WRONGTYPE the value is no integer'}
      end
      return done
    end
    remember(key, previous)
    -- Not the number that Lua got, which may be rounded.
    local value = redis.call('HGET', content, key)
    map_note(map, key, value)
    return {map.rev, existed, 1, value}
  elseif op == 'setnx' then
    if previous then return nothing end
  elseif op == 'tas' or op == 'tad' then
    if previous ~= ARGV[first + 1] then return nothing end
  elseif op == 'del' then
    if not previous then return nothing end
  end
  remember(key, previous)
  if op == 'del' or op == 'tad' then
    map_del(map, key)
  else
    map_set(map, key, ARGV[last])
  end
  return {map.rev, existed, 1, previous}
end

local at = 5
if nothing_but_sets() then
  write_all()
  at = #ARGV + 1
end
while at <= #ARGV do
  local last = at + 1 + tonumber(ARGV[at + 1])
  local result = run(ARGV[at], at + 2, last)
  results[#results + 1] = result
  if atomic and result.err then
    for i = #undo, 1, -1 do
      local key, previous = undo[i][1], undo[i][2]
      if previous then
        redis.call('HSET', content, key, previous)
      else
        redis.call('HDEL', content, key)
      end
    end
    return {err = (string.gsub(result.err, '^%u+ ', '%0item ' .. #results - 1 .. ': ', 1))}
  end
  at = last + 1
end

map_close(map, ttl, sliding)
return results
