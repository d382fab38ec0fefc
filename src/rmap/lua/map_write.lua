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

local content, channel = KEYS[1], KEYS[2]
local first_rev = redis.pcall('HGET', content, '=rev') or '0'
if type(first_rev) == 'table' then return first_rev end  -- no hash
-- Beyond 15 digits Lua's numbers are not exact.
if not string.find(first_rev, '^%d+$') or #first_rev > 15 then
  return redis.error_reply('ERR the revision of the map is no usable number: ' .. first_rev)
end
local rev, kind = tonumber(first_rev), nil
local messages = {}

local function pack(text) return struct.pack('<i4', #text) .. text end
local function rev_text() return string.format('%.0f', rev) end

local function write(key, value)
  redis.call('HSET', content, key, value)
  rev, kind = rev + 1, 'set'
  messages[#messages + 1] = 'set:' .. pack(key) .. pack(value) .. pack(rev_text())
end

if #ARGV == 8 and ARGV[5] == 'set' then
  -- By far the most frequent one: without the rest of the set-up below.
  local key, value = ARGV[7], ARGV[8]
  local previous = redis.call('HGET', content, key)
  write(key, value)
  redis.call('HSET', content, '=rev', rev_text(), '=kind', kind)
  redis.call('PUBLISH', channel, messages[1])
  if ARGV[1] ~= '0' and (ARGV[2] == '1' or redis.call('PTTL', content) < 0) then
    redis.call('PEXPIRE', content, ARGV[1])
  end
  return {{rev_text(), previous and 1 or 0, 1, previous}}
end

local longest, atomic = tonumber(ARGV[3]), ARGV[4] == '1'
local undo = {}

local function remember(key, previous)
  if atomic then undo[#undo + 1] = {key, previous} end
end

local function erase(key)
  redis.call('HDEL', content, key)
  rev, kind = rev + 1, 'del'
  messages[#messages + 1] = 'del:' .. pack(key) .. pack(rev_text())
end

-- All fields go; the revision comes back at the end.
local function empty(what)
  redis.call('DEL', content)
  rev, kind = rev + 1, what
  messages[#messages + 1] = what .. ':' .. rev_text()
  return {rev_text(), 0, 1, false}
end

-- The list that a value holds: a JSON array, else comma-separated as older writers left it.
local function list_of(value)
  if not value then return {} end
  local ok, decoded = pcall(cjson.decode, value)
  if ok and type(decoded) == 'table' then
    if string.find(value, '^%s*{') then return nil end
    return decoded
  end
  local list = {}
  for item in string.gmatch(value, '[^,]+') do list[#list + 1] = item end
  return list
end
local no_list = {err = 'WRONGTYPE the value is a JSON object, not a list'}

-- Nil for what can be read and not be written, like numbers beyond all bounds: it must not end the
-- script, in which others have written already.
local function encode(list)
  local ok, text = pcall(cjson.encode, list)
  return ok and text or nil
end
local no_text = {err = 'WRONGTYPE the list has items that cannot be written as JSON'}

local function append(key, first, last, unique)
  local current = redis.call('HGET', content, key)
  local existed = current and 1 or 0
  if first > last then return {'0', existed, 0, current} end
  local list = list_of(current)
  if not list then return no_list end
  local present, changed = {}, not unique
  if unique then
    for _, item in ipairs(list) do present[item] = true end
  end
  for i = first, last do
    local item = ARGV[i]
    if not present[item] then
      list[#list + 1] = item
      if unique then
        present[item] = true
        changed = true
      end
    end
  end
  if not changed then return {'0', existed, 0, current} end
  local encoded = encode(list)
  if not encoded then return no_text end
  if #encoded > longest then
    return {err = 'TOOLARGE the list of ' .. #encoded .. ' bytes is larger than ' .. longest}
  end
  remember(key, current)
  write(key, encoded)
  return {rev_text(), existed, 1, encoded}
end

local function remove(key, first, last)
  local current = redis.call('HGET', content, key)
  if not current then return {'0', 0, 0, false} end
  if first > last then return {'0', 1, 0, current} end
  local list = list_of(current)
  if not list then return no_list end
  local unwanted, kept = {}, {}
  for i = first, last do unwanted[ARGV[i]] = true end
  for _, item in ipairs(list) do
    if not unwanted[item] then kept[#kept + 1] = item end
  end
  if #kept == #list then return {'0', 1, 0, current} end
  if #kept == 0 then
    remember(key, current)
    erase(key)
    return {rev_text(), 1, 1, false}
  end
  local encoded = encode(kept)
  if not encoded then return no_text end
  remember(key, current)
  write(key, encoded)
  return {rev_text(), 1, 1, encoded}
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
    rev, kind = rev + 1, 'set'
    messages[#messages + 1] = 'set:' .. pack(key) .. pack(value) .. pack(rev_text())
    return {rev_text(), existed, 1, value}
  elseif op == 'setnx' then
    if previous then return nothing end
  elseif op == 'tas' or op == 'tad' then
    if previous ~= ARGV[first + 1] then return nothing end
  elseif op == 'del' then
    if not previous then return nothing end
  end
  remember(key, previous)
  if op == 'del' or op == 'tad' then
    erase(key)
  else
    write(key, ARGV[last])
  end
  return {rev_text(), existed, 1, previous}
end

local results = {}
local at = 5
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

if kind then
  redis.call('HSET', content, '=rev', rev_text(), '=kind', kind)
  for _, message in ipairs(messages) do redis.call('PUBLISH', channel, message) end
  local ttl = ARGV[1]
  if ttl ~= '0' and (ARGV[2] == '1' or redis.call('PTTL', content) < 0) then
    redis.call('PEXPIRE', content, ttl)
  end
end
return results
