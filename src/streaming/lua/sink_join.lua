-- A consumer joins the group of a sink on one stream, or makes sure that it is still in it.
--
-- KEYS  1 stream  2 keep-alive map of the sink  3 consumers map of the stream  4 restart marker
-- ARGV  1 group  2 consumer  3 start, for a group that does not exist ("$" or an id)
--       4 "1": the server has XGROUP CREATECONSUMER  5 "1": it has ENTRIESREAD
--       6 TTL of the stream in ms or "0"  7 "1": the TTL is a sliding one
--       8 channel of the keep-alive map  9 channel of the consumers map
--       10 "" for a first join; else "alive" or "stalled": joined before, and whether the
--          keep-alives were in time  11 restart position, an id, when joined before
--       12 how long the restart marker lives, in ms
--       13 consumer whose place this one takes, or ""
--
-- Returns {what, position, lowest pending id or "", 1 if our consumer was missing, lost ids}; what:
--   "joined"     as asked for; joined before: all was in place
--   "recreated"  group or stream had to be made anew; position: where it goes on
--   "dead"       joined before, but declared dead since: nothing was done
-- position is the group's last delivered id; lost: pending under the former name (13), and their
-- entries are gone.
if redis.replicate_commands then redis.replicate_commands() end

-- include event_id.lua
-- include group.lua
-- include map_list.lua
-- include time.lua
local stream, marker = KEYS[1], KEYS[4]
local group, consumer, start = ARGV[1], ARGV[2], ARGV[3]
local has_create_consumer, has_entries_read = ARGV[4] == '1', ARGV[5] == '1'
local ttl, sliding = tonumber(ARGV[6]), ARGV[7] == '1'
local before, restart, marker_ms, previous = ARGV[10], ARGV[11], ARGV[12], ARGV[13]

local alive, consumers = map_open(KEYS[2], ARGV[8]), map_open(KEYS[3], ARGV[9])
local listed = map_list(consumers, group)
if map_fault then return map_fault end

local function has_consumer(name)
  for _, c in ipairs(redis.call('XINFO', 'CONSUMERS', stream, group)) do
    if fields_of(c)['name'] == name then return true end
  end
  return false
end

local kind = redis.call('TYPE', stream).ok
if kind ~= 'none' and kind ~= 'stream' then
  return redis.error_reply('WRONGTYPE the key of the stream holds a ' .. kind)
end

local rejoin = before ~= ''
local there = find_group(stream, group)
local is_alive = redis.call('HEXISTS', KEYS[2], consumer) == 1
local missing = 0
if there and rejoin then
  -- Older servers make a consumer with its first event only.
  if not has_consumer(consumer) and
      (has_create_consumer or redis.call('EXISTS', marker) == 1) then
    missing = 1
  end
  -- Without a keep-alive somebody has given us up; unless all was flushed and another
  -- instance has made the group anew before us.
  if not is_alive and (before == 'stalled' or redis.call('EXISTS', marker) == 0) then
    return {'dead', '0-0', '', missing, {}}
  end
end

-- The keep-alive comes before the consumer: others delete consumers that have none.
if not rejoin or not is_alive then
  map_set(alive, consumer, now_ns())
  map_close(alive)
end

local what = 'joined'
if not there then
  if rejoin then
    what = 'recreated'
    start = restart
    -- A stream that ends before our position is another one: all of it is new to us.
    if kind == 'stream' then
      local last = fields_of(redis.call('XINFO', 'STREAM', stream))['last-generated-id']
      if id_less(last, restart) then start = '0-0' end
    else
      start = '0-0'
    end
  end
  local create = {'XGROUP', 'CREATE', stream, group, start, 'MKSTREAM'}
  if has_entries_read and (start == '$' or start == '0-0') then
    -- So that the server can tell how many entries the group has not read.
    local added = 0
    if kind == 'stream' then
      local info = fields_of(redis.call('XINFO', 'STREAM', stream))
      added = info['entries-added']
      if start ~= '$' then added = added - info['length'] end
    end
    create[#create + 1] = 'ENTRIESREAD'
    create[#create + 1] = string.format('%.0f', added)
  end
  redis.call(unpack(create))
  if ttl > 0 and (sliding or redis.call('PTTL', stream) < 0) then
    redis.call('PEXPIRE', stream, ARGV[6])
  end
  if rejoin then redis.call('SET', marker, start, 'PX', marker_ms) end
elseif rejoin and missing == 1 then
  -- The group is another one than ours was.  If it was not made by an instance that knew
  -- where to go on, it may have skipped what nobody has handled.
  local marked = redis.call('GET', marker)
  if marked and not id_less(restart, marked) then
    what = 'recreated'
  elseif id_less(restart, there['last-delivered-id']) then
    redis.call('XGROUP', 'SETID', stream, group, restart)
    redis.call('SET', marker, restart, 'PX', marker_ms)
    what = 'recreated'
  end
end

if has_create_consumer then redis.call('XGROUP', 'CREATECONSUMER', stream, group, consumer) end

local list, lost = listed, {}
if previous ~= '' then
  -- What was pending under our former name goes to the new one, then the name goes.
  if has_consumer(previous) then
    while true do
      local page = redis.call('XPENDING', stream, group, '-', '+', 500, previous)
      if #page == 0 then break end
      local claim = {'XCLAIM', stream, group, consumer, '0'}
      for _, p in ipairs(page) do
        if #redis.call('XRANGE', stream, p[1], p[1], 'COUNT', 1) == 0 then
          redis.call('XACK', stream, group, p[1])
          lost[#lost + 1] = p[1]
        else
          claim[#claim + 1] = p[1]
        end
      end
      if #claim > 5 then
        claim[#claim + 1] = 'JUSTID'
        redis.call(unpack(claim))
      end
    end
    redis.call('XGROUP', 'DELCONSUMER', stream, group, previous)
  end
  list = list_without(list, {previous}, 1, 1)
end

if list_add(list, {consumer}, 1, 1) or #list < #listed then
  map_set_list(consumers, group, list)
  map_close(consumers, ARGV[6], sliding)
end

local summary = redis.call('XPENDING', stream, group)
return {what, find_group(stream, group)['last-delivered-id'], summary[2] or '', missing, lost}
