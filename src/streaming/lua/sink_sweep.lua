-- What a sink does twice a second for each of its streams: looks whether group and consumer are
-- there, takes over abandoned events, and removes consumers that are gone.
--
-- KEYS  1 stream  2 lease  3 keep-alive map of the sink  4 consumers map of the stream
-- ARGV  1 group  2 consumer  3 grace period in ms  4 how many events may be taken over
--       5 "1": the server has XAUTOCLAIM and CREATECONSUMER  6 position to go on from
--       7 channel of the keep-alive map  8 channel of the consumers map  9 lease time in ms
--       10 how many pending ones are looked at, at most
--
-- Returns {"gone"}, or {"ok", last delivered id, lowest pending id or "", next position,
-- entries, delivery counts, lost ids}; without the lease the last three are empty and the
-- position is as given.  Lost: pending, but the entry is gone; they are off the list.
if redis.replicate_commands then redis.replicate_commands() end

local stream, lease, alive_map, consumers_map = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local group, consumer, grace = ARGV[1], ARGV[2], tonumber(ARGV[3])
local limit, newer, cursor = tonumber(ARGV[4]), ARGV[5] == '1', ARGV[6]
local looks_left = tonumber(ARGV[10])

local function fields_of(list)
  local fields = {}
  for i = 1, #list, 2 do fields[list[i]] = list[i + 1] end
  return fields
end

local groups = redis.pcall('XINFO', 'GROUPS', stream)
if groups.err then
  if string.find(groups.err, 'WRONGTYPE', 1, true) then return groups end
  return {'gone'}
end
local last_delivered
for _, g in ipairs(groups) do
  local fields = fields_of(g)
  if fields['name'] == group then last_delivered = fields['last-delivered-id'] end
end
if not last_delivered then return {'gone'} end

local consumers = {}
local found_self = false
for _, c in ipairs(redis.call('XINFO', 'CONSUMERS', stream, group)) do
  local fields = fields_of(c)
  if fields['name'] == consumer then
    found_self = true
  else
    consumers[#consumers + 1] = fields
  end
end
-- Older servers make the consumer with its first event only.
if not found_self and newer then return {'gone'} end

local lowest = redis.call('XPENDING', stream, group)[2] or ''

local holder = redis.call('GET', lease)
if holder and holder ~= consumer then
  return {'ok', last_delivered, lowest, cursor, {}, {}, {}}
end
redis.call('SET', lease, consumer, 'PX', ARGV[9])

-- The entries of ids that are ours by now, with their counts grown by one.
local entries, counts, lost = {}, {}, {}
local function take(ids)
  if #ids == 0 then return end
  local claim = {'XCLAIM', stream, group, consumer, '0'}
  local times = {}
  for _, id in ipairs(ids) do
    local pending = redis.call('XPENDING', stream, group, id, id, 1)
    if #pending > 0 then
      if #redis.call('XRANGE', stream, id, id, 'COUNT', 1) == 0 then
        redis.call('XACK', stream, group, id)
        lost[#lost + 1] = id
      else
        claim[#claim + 1] = id
        times[id] = pending[1][4]
      end
    end
  end
  if #claim == 5 then return end
  for _, entry in ipairs(redis.call(unpack(claim))) do
    if entry then
      entries[#entries + 1] = entry
      counts[#counts + 1] = times[entry[1]] + 1
    end
  end
end

if newer then
  while limit > 0 and looks_left > 0 do
    local page = math.min(limit, 100)
    local got = redis.call('XAUTOCLAIM', stream, group, consumer, ARGV[3], cursor, 'COUNT', page,
                           'JUSTID')
    cursor = got[1]
    take(got[2])
    if got[3] then
      for _, id in ipairs(got[3]) do lost[#lost + 1] = id end
    end
    limit = limit - #got[2]
    looks_left = looks_left - page * 10
    if cursor == '0-0' then break end
  end
elseif limit > 0 then
  -- Before XAUTOCLAIM: all pending ones from `cursor` on are looked at here.
  while limit > 0 and looks_left > 0 do
    local page = redis.call('XPENDING', stream, group, cursor, '+', 500)
    local ids = {}
    local last
    for _, p in ipairs(page) do
      last = p[1]
      if p[3] >= grace and #ids < limit then
        ids[#ids + 1] = p[1]
      elseif #ids >= limit then
        break
      end
    end
    take(ids)
    limit = limit - #ids
    looks_left = looks_left - #page
    if #page < 500 and limit > 0 then
      cursor = '0-0'
      break
    end
    -- The range has no "after": the page's last one is seen twice.
    if #page <= 1 then
      cursor = '0-0'
      break
    end
    cursor = last
  end
end

-- Consumers that are gone: no keep-alive for long, and not heard of for as long.  Only without
-- pending ones, which are taken over first.
local now = redis.call('TIME')
local oldest = string.format('%.0f', now[1] * 1000 + math.floor(now[2] / 1000) - 2 * grace) .. '000000'

local function pack(text) return struct.pack('<i4', #text) .. text end
local function map_changed(map, channel, kind, message)
  local rev = string.format('%.0f', redis.call('HINCRBY', map, '=rev', 1))
  redis.call('HSET', map, '=kind', kind)
  redis.call('PUBLISH', channel, kind .. ':' .. message .. pack(rev))
end

for _, c in ipairs(consumers) do
  local name = c['name']
  if c['idle'] >= 2 * grace then
    local alive = redis.call('HGET', alive_map, name)
    local stale = not alive or #alive < #oldest or (#alive == #oldest and alive < oldest)
    if stale and #redis.call('XPENDING', stream, group, '-', '+', 1, name) == 0 then
      redis.call('XGROUP', 'DELCONSUMER', stream, group, name)
      if alive then
        redis.call('HDEL', alive_map, name)
        map_changed(alive_map, ARGV[7], 'del', pack(name))
      end
      local current = redis.call('HGET', consumers_map, group)
      if current then
        local ok, list = pcall(cjson.decode, current)
        local kept = {}
        if ok and type(list) == 'table' then
          for _, item in ipairs(list) do
            if item ~= name then kept[#kept + 1] = item end
          end
        else
          list = {}
          for item in string.gmatch(current, '[^,]+') do
            list[#list + 1] = item
            if item ~= name then kept[#kept + 1] = item end
          end
        end
        if #kept == 0 and #list > 0 then
          redis.call('HDEL', consumers_map, group)
          map_changed(consumers_map, ARGV[8], 'del', pack(group))
        elseif #kept ~= #list then
          local value = cjson.encode(kept)
          redis.call('HSET', consumers_map, group, value)
          map_changed(consumers_map, ARGV[8], 'set', pack(group) .. pack(value))
        end
      end
    end
  end
end

return {'ok', last_delivered, lowest, cursor, entries, counts, lost}
