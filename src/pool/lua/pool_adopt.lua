-- Jobs that no worker has, that are not in the queue and that no dispatch is under way for go back to
-- the queue.  The guard keeps other nodes from doing the same.
--
-- KEYS  1 job-payloads  2 pending-jobs  3 pool stream
-- ARGV  1 node id  2 how long the guard holds, in us  3 group of the routers  4... keys
-- Returns how many were put back.
if redis.replicate_commands then redis.replicate_commands() end

-- include pool_requeue.lua
local guards = pool_map(KEYS[2])
if map_fault then return map_fault end

local us = now_us()
local now, guard = ns_text(us), ns_text(us + ARGV[2])
local back = 0
local queued = queued_starts(KEYS[3], ARGV[3])
-- Nothing is put into a long queue on a suspicion.
if not queued then return 0 end
for i = 4, #ARGV do
  local key = ARGV[i]
  local payload = not queued[key] and redis.call('HGET', KEYS[1], key)
  if payload and not holds(redis.call('HGET', KEYS[2], key), now) then
    map_set(guards, key, guard)
    requeue(KEYS[3], ARGV[1], key, payload, us)
    back = back + 1
  end
end
map_close(guards)
return back
