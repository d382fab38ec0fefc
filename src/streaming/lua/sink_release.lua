-- Gives events back: they look abandoned for long, so that the next sweep of any instance takes
-- them at once.
--
-- KEYS  1 stream
-- ARGV  1 group  2 consumer  3 idle time in ms  4... pairs: id, "1" if the host has seen it
-- Returns one number per id: 1 given back, 0 not ours any more, 2 its entry is gone (and off the
-- list of pending ones).
if redis.replicate_commands then redis.replicate_commands() end

local stream, group, consumer, idle = KEYS[1], ARGV[1], ARGV[2], ARGV[3]
local results = {}
for i = 4, #ARGV, 2 do
  local id = ARGV[i]
  local pending = redis.call('XPENDING', stream, group, id, id, 1)
  if #pending > 0 and pending[1][2] ~= consumer then
    results[#results + 1] = 0
  elseif #redis.call('XRANGE', stream, id, id, 'COUNT', 1) == 0 then
    redis.call('XACK', stream, group, id)
    results[#results + 1] = 2
  elseif #pending == 0 then
    results[#results + 1] = 0
  else
    -- A delivery that nobody has seen does not count.
    local times = pending[1][4]
    if ARGV[i + 1] ~= '1' and times > 0 then times = times - 1 end
    redis.call('XCLAIM', stream, group, consumer, '0', id, 'IDLE', idle, 'RETRYCOUNT', times,
               'JUSTID')
    results[#results + 1] = 1
  end
end
return results
