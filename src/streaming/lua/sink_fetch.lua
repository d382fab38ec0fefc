-- The entries of events that are pending under our consumer and that the host has not seen.
--
-- KEYS  1 stream
-- ARGV  1 group  2 consumer  3... ids
-- Returns {entries, counts, lost}: entries as XRANGE gives them, how often each was delivered,
-- and the ids whose entries are gone (taken off the list of pending ones).
if redis.replicate_commands then redis.replicate_commands() end

local stream, group, consumer = KEYS[1], ARGV[1], ARGV[2]
local entries, counts, lost = {}, {}, {}
for i = 3, #ARGV do
  local id = ARGV[i]
  local pending = redis.call('XPENDING', stream, group, id, id, 1, consumer)
  if #pending > 0 then
    local found = redis.call('XRANGE', stream, id, id, 'COUNT', 1)
    if #found == 0 then
      redis.call('XACK', stream, group, id)
      lost[#lost + 1] = id
    else
      entries[#entries + 1] = found[1]
      counts[#counts + 1] = pending[1][4]
    end
  end
end
return {entries, counts, lost}
