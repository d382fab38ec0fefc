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

-- include digits.lua
-- include group.lua
-- include map_list.lua
-- include time.lua
local stream, lease = KEYS[1], KEYS[2]
local group, consumer, grace = ARGV[1], ARGV[2], tonumber(ARGV[3])
local limit, newer, cursor = tonumber(ARGV[4]), ARGV[5] == '1', ARGV[6]
local looks_left = tonumber(ARGV[10])

local there, fault = find_group(stream, group)
if not there then
  if fault and string.find(fault.err, 'WRONGTYPE', 1, true) then return fault end
  return {'gone'}
end
local last_delivered = there['last-delivered-id']

-- Alone, and nothing pending: there is nothing to take over, and nobody to share the work with.
local idle = there['pending'] == 0 and there['consumers'] == 1
local others = {}
local found_self = false
for _, c in ipairs(redis.call('XINFO', 'CONSUMERS', stream, group)) do
  local fields = fields_of(c)
  if fields['name'] == consumer then
    found_self = true
  else
    others[#others + 1] = fields
  end
end
-- Older servers make the consumer with its first event only.
if not found_self and newer then return {'gone'} end
if idle and found_self then return {'ok', last_delivered, '', '0-0', {}, {}, {}} end

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
local gone = {}
local oldest = now_ns(-2 * grace)
for _, c in ipairs(others) do
  local name = c['name']
  if c['idle'] >= 2 * grace then
    local alive = redis.pcall('HGET', KEYS[3], name)
    local stale = not alive or (type(alive) == 'string' and digits_less(alive, oldest))
    if stale and #redis.call('XPENDING', stream, group, '-', '+', 1, name) == 0 then
      gone[#gone + 1] = name
    end
  end
end

if #gone > 0 then
  local alive, consumers = map_open(KEYS[3], ARGV[7]), map_open(KEYS[4], ARGV[8])
  local list = map_list(consumers, group)
  -- With a map that cannot be changed they stay: what was taken over above counts more.
  if not map_fault then
    for _, name in ipairs(gone) do
      redis.call('XGROUP', 'DELCONSUMER', stream, group, name)
      map_del(alive, name)
    end
    local kept = list_without(list, gone, 1, #gone)
    if #kept < #list then map_set_list(consumers, group, kept) end
    map_close(alive)
    map_close(consumers)
  end
end

return {'ok', last_delivered, lowest, cursor, entries, counts, lost}
