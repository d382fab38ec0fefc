-- Puts events that the host still holds back under our consumer, after their entries in the
-- list of pending ones were dropped (the group was made anew, or the consumer deleted).
--
-- KEYS  1 stream
-- ARGV  1 group  2 consumer  3 delivery count that they get  4... ids
-- Those that another consumer has, that are gone, or that the group will come by again stay as they
-- are.  Returns how many were put back.
if redis.replicate_commands then redis.replicate_commands() end

local stream, group, consumer = KEYS[1], ARGV[1], ARGV[2]

local last_ms, last_seq
for _, g in ipairs(redis.call('XINFO', 'GROUPS', stream)) do
  local fields = {}
  for i = 1, #g, 2 do fields[g[i]] = g[i + 1] end
  if fields['name'] == group then
    last_ms, last_seq = string.match(fields['last-delivered-id'], '^(%d+)-(%d+)$')
  end
end
if not last_ms then return 0 end

local function was_delivered(id)
  local ms, seq = string.match(id, '^(%d+)-(%d+)$')
  if #ms ~= #last_ms then return #ms < #last_ms end
  if ms ~= last_ms then return ms < last_ms end
  if #seq ~= #last_seq then return #seq < #last_seq end
  return seq <= last_seq
end

local count = 0
for i = 4, #ARGV do
  local id = ARGV[i]
  if was_delivered(id) and #redis.call('XPENDING', stream, group, id, id, 1) == 0 and
      #redis.call('XRANGE', stream, id, id, 'COUNT', 1) > 0 then
    redis.call('XCLAIM', stream, group, consumer, '0', id, 'RETRYCOUNT', ARGV[3], 'FORCE',
               'JUSTID')
    count = count + 1
  end
end
return count
