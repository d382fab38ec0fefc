-- Acks what is still pending under our consumer: XACK names no consumer, and would take an event
-- from whoever has it by now.
--
-- KEYS  1 stream
-- ARGV  1 group  2 consumer  3... ids
-- Returns one number per id: 1 acked, 0 pending under another consumer, 2 not pending at all.
if redis.replicate_commands then redis.replicate_commands() end

local stream, group, consumer = KEYS[1], ARGV[1], ARGV[2]
local results = {}
for i = 3, #ARGV do
  local pending = redis.call('XPENDING', stream, group, ARGV[i], ARGV[i], 1)
  if #pending == 0 then
    results[#results + 1] = 2
  elseif pending[1][2] ~= consumer then
    results[#results + 1] = 0
  else
    redis.call('XACK', stream, group, ARGV[i])
    results[#results + 1] = 1
  end
end
return results
