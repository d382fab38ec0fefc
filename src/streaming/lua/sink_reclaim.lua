-- Puts events that the host still holds back under our consumer, after their entries in the
-- list of pending ones were dropped (the group was made anew, or the consumer deleted).
--
-- KEYS  1 stream
-- ARGV  1 group  2 consumer  3 delivery count that they get  4... ids
-- Those that another consumer has, that are gone, or that the group will come by again stay as they
-- are.  Returns how many were put back.
if redis.replicate_commands then redis.replicate_commands() end

-- include event_id.lua
-- include group.lua
local stream, group, consumer = KEYS[1], ARGV[1], ARGV[2]

local there, fault = find_group(stream, group)
if not there then return fault or 0 end
local last_delivered = there['last-delivered-id']

local count = 0
for i = 4, #ARGV do
  local id = ARGV[i]
  if not id_less(last_delivered, id) and #redis.call('XPENDING', stream, group, id, id, 1) == 0 and
      #redis.call('XRANGE', stream, id, id, 'COUNT', 1) > 0 then
    redis.call('XCLAIM', stream, group, consumer, '0', id, 'RETRYCOUNT', ARGV[3], 'FORCE',
               'JUSTID')
    count = count + 1
  end
end
return count
