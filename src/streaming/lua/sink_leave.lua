-- A consumer leaves the group of a sink on one stream for good: what is pending under it is
-- given back, and the group goes when nobody is left.
--
-- KEYS  1 stream  2 consumers map of the stream
-- ARGV  1 group  2 consumer  3 channel of the consumers map  4 idle time in ms
-- Returns 1 if the group was destroyed, else 0.
if redis.replicate_commands then redis.replicate_commands() end

local stream, map = KEYS[1], KEYS[2]
local group, consumer, channel, idle = ARGV[1], ARGV[2], ARGV[3], ARGV[4]

local function pack(text) return struct.pack('<i4', #text) .. text end
local function map_changed(kind, message)
  local rev = string.format('%.0f', redis.call('HINCRBY', map, '=rev', 1))
  redis.call('HSET', map, '=kind', kind)
  redis.call('PUBLISH', channel, kind .. ':' .. message .. pack(rev))
end

local left = false
local current = redis.call('HGET', map, group)
if current then
  local kept, list = {}, nil
  local ok, decoded = pcall(cjson.decode, current)
  if ok and type(decoded) == 'table' then
    list = decoded
  else
    list = {}
    for item in string.gmatch(current, '[^,]+') do list[#list + 1] = item end
  end
  for _, item in ipairs(list) do
    if item ~= consumer then kept[#kept + 1] = item end
  end
  if #kept == 0 and #list > 0 then
    redis.call('HDEL', map, group)
    map_changed('del', pack(group))
  elseif #kept ~= #list then
    local value = cjson.encode(kept)
    redis.call('HSET', map, group, value)
    map_changed('set', pack(group) .. pack(value))
  end
  left = #kept > 0
end

if not left then
  local destroyed = redis.pcall('XGROUP', 'DESTROY', stream, group)
  return type(destroyed) == 'number' and destroyed or 0
end

local start = '-'
while true do
  local page = redis.pcall('XPENDING', stream, group, start, '+', 500, consumer)
  if page.err then break end
  if #page == 0 or (#page == 1 and page[1][1] == start) then break end
  for _, p in ipairs(page) do
    redis.call('XCLAIM', stream, group, consumer, '0', p[1], 'IDLE', idle, 'RETRYCOUNT', p[4],
               'JUSTID')
    start = p[1]
  end
end
return 0
