-- Changes of replicated maps, of one or of several in one script run:
--
--   local jobs, guards = map_open(KEYS[1], ARGV[1]), map_open(KEYS[2], ARGV[2])
--   if map_fault then return map_fault end
--   map_set(jobs, key, value)
--   map_del(guards, key)
--   map_close(jobs)
--   map_close(guards)
--
-- All of them are opened before anything is written: one that cannot be changed is found in time.
-- Without map_close the hash may be changed, but nobody is told.

-- The error reply for the first map that cannot be changed.
local map_fault

-- A map with its content (a hash), its channel, and what the server said of its revision.  Its array
-- part: messages that wait for map_close.
local function map_at(content, channel, rev)
  if type(rev) == 'table' then  -- no hash
    map_fault = map_fault or rev
  -- Beyond 15 digits Lua's numbers are not exact.
  elseif not string.find(rev, '^%d+$') or #rev > 15 then
    map_fault = map_fault or
        redis.error_reply('ERR the revision of the map is no usable number: ' .. rev)
  end
  return {content = content, channel = channel, rev = rev, kind = false}
end

local function map_open(content, channel)
  return map_at(content, channel, redis.pcall('HGET', content, '=rev') or '0')
end

-- What goes before a text in a message.
local sizes = {}
local function size(text)
  local packed = sizes[#text]
  if not packed then
    packed = struct.pack('<i4', #text)
    sizes[#text] = packed
  end
  return packed
end

-- Notes that the hash was changed: by a set if there is a value, else by a deletion.
local function map_note(map, key, value)
  local rev = string.format('%d', map.rev + 1)
  map.rev = rev
  if value then
    map.kind = 'set'
    map[#map + 1] = 'set:' .. size(key) .. key .. size(value) .. value .. size(rev) .. rev
  else
    map.kind = 'del'
    map[#map + 1] = 'del:' .. size(key) .. key .. size(rev) .. rev
  end
end

local function map_set(map, key, value)
  redis.call('HSET', map.content, key, value)
  map_note(map, key, value)
end

-- Whether the key was there; nothing happens if it was not.
local function map_del(map, key)
  if redis.call('HDEL', map.content, key) == 0 then return false end
  map_note(map, key)
  return true
end

-- All keys go; `kind`: "reset" or "destroy".
local function map_empty(map, kind)
  redis.call('DEL', map.content)
  map.rev, map.kind = string.format('%.0f', map.rev + 1), kind
  map[#map + 1] = kind .. ':' .. map.rev
end

-- Writes the revision, together with `fields` (names and values), and publishes what was changed, if
-- anything was.  `ttl`: text of ms, "0" or nil for none; `sliding`: it begins anew.
local function map_close(map, ttl, sliding, fields)
  if not map.kind then return end
  fields = fields or {}
  local n = #fields
  fields[n + 1], fields[n + 2], fields[n + 3], fields[n + 4] = '=rev', map.rev, '=kind', map.kind
  redis.call('HSET', map.content, unpack(fields))
  for i = 1, #map do redis.call('PUBLISH', map.channel, map[i]) end
  if ttl and ttl ~= '0' and (sliding or redis.call('PTTL', map.content) < 0) then
    redis.call('PEXPIRE', map.content, ttl)
  end
end
