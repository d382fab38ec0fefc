-- A worker is dead: its jobs go back to the queue, some at a time, then what it left is removed.
--
-- KEYS  1 workers  2 worker-keepalive  3 cleanup  4 jobs  5 job-payloads  6 pool stream
--       7 worker stream
-- ARGV  1 worker id  2 its keep-alive as it was seen, "" for none  3 how long a lock counts, in us
--       4 node id  5 jobs at a time  6 the lock that we took before, "" for none
--       7 group of the routers
-- Returns {"alive"}, {"locked"}, {"more", jobs put back, lock} or {"done", jobs put back}.
if redis.replicate_commands then redis.replicate_commands() end

-- include pool_requeue.lua
-- include map_list.lua
local workers, alive, cleanup = pool_map(KEYS[1]), pool_map(KEYS[2]), pool_map(KEYS[3])
local jobs, payloads = pool_map(KEYS[4]), pool_map(KEYS[5])
local id = ARGV[1]
local list = map_list(jobs, id)
if map_fault then return map_fault end

if (redis.call('HGET', KEYS[2], id) or '') ~= ARGV[2] then return {'alive'} end
local us = now_us()
local lock = redis.call('HGET', KEYS[3], id)
if lock and lock ~= ARGV[6] and digits_less(ns_text(us - ARGV[3]), lock) then return {'locked'} end

local count = math.min(#list, tonumber(ARGV[5]))
local back = 0
-- A start that was not answered is routed again: twice, the job could run twice.
local queued = queued_starts(KEYS[6], ARGV[7]) or {}
for i = 1, count do
  local payload = not queued[list[i]] and redis.call('HGET', KEYS[5], list[i])
  if payload then
    requeue(KEYS[6], ARGV[4], list[i], payload, us)
    back = back + 1
  end
end
if count < #list then
  local kept = {}
  for i = count + 1, #list do kept[#kept + 1] = list[i] end
  map_set_list(jobs, id, kept)
  lock = ns_text(us)
  map_set(cleanup, id, lock)
  map_close(jobs)
  map_close(cleanup)
  return {'more', back, lock}
end
map_del(jobs, id)
map_del(workers, id)
map_del(alive, id)
map_del(cleanup, id)
map_close(jobs)
map_close(workers)
map_close(alive)
map_close(cleanup)
redis.call('DEL', KEYS[7])
return {'done', back}
