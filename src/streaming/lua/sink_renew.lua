-- Keeps the events that the host holds: only what is pending under our own consumer is claimed
-- again, as a bare XCLAIM would steal from those who have taken over.
--
-- KEYS  1 stream
-- ARGV  1 group  2 consumer  3... ids, ascending
-- Returns one number per id: 1 ours, or nobody's any more, as its entry is gone; 0 another
-- consumer's; 2 not pending, but the group will come by it again (it was made anew at an earlier
-- position); 3 not pending.
if redis.replicate_commands then redis.replicate_commands() end

-- include event_id.lua
-- include group.lua
local stream, group, consumer = KEYS[1], ARGV[1], ARGV[2]

local own = {}
local page = redis.call('XPENDING', stream, group, ARGV[3], ARGV[#ARGV], #ARGV - 2, consumer)
for _, p in ipairs(page) do own[p[1]] = true end
local whole = #page < #ARGV - 2

local last_delivered
local function is_ahead(id)
  last_delivered = last_delivered or find_group(stream, group)['last-delivered-id']
  return id_less(last_delivered, id)
end

local claim = {'XCLAIM', stream, group, consumer, '0'}
local results = {}
for i = 3, #ARGV do
  local id = ARGV[i]
  -- With entries in between that we do not hold (left by a filter) one page is not all.
  if own[id] or (not whole and #redis.call('XPENDING', stream, group, id, id, 1, consumer) > 0) then
    claim[#claim + 1] = id
    results[#results + 1] = 1
  elseif #redis.call('XPENDING', stream, group, id, id, 1) > 0 then
    results[#results + 1] = 0
  elseif #redis.call('XRANGE', stream, id, id, 'COUNT', 1) == 0 then
    results[#results + 1] = 1
  else
    results[#results + 1] = is_ahead(id) and 2 or 3
  end
end
if #claim > 5 then
  claim[#claim + 1] = 'JUSTID'
  redis.call(unpack(claim))
end
return results
