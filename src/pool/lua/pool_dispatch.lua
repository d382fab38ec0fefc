-- Dispatches a job: the guard that keeps others from doing the same, and the event for the routers.
--
-- KEYS  1 job-payloads  2 pending-jobs  3 shutdown  4 pool stream
-- ARGV  1 key  2 job  3 how long the guard holds, in us  4 guards that may hold at a time
--       5 group of the routers
-- Returns {"ok", event id, guard}, {"exists"}, {"pending"}, {"full"}, {"no_pool"} or
-- {"shutting_down"}.
if redis.replicate_commands then redis.replicate_commands() end

-- include pool.lua
-- include group.lua
local guards = pool_map(KEYS[2])
if map_fault then return map_fault end

if redis.call('HEXISTS', KEYS[3], 'shutdown') == 1 then return {'shutting_down'} end
if redis.call('HEXISTS', KEYS[1], ARGV[1]) == 1 then return {'exists'} end
local us = now_us()
local now = ns_text(us)
if holds(redis.call('HGET', KEYS[2], ARGV[1]), now) then return {'pending'} end

if not find_group(KEYS[4], ARGV[5]) then return {'no_pool'} end

local cap = tonumber(ARGV[4])
if redis.call('HLEN', KEYS[2]) >= cap then
  local held = 0
  local all = redis.call('HGETALL', KEYS[2])
  for i = 1, #all, 2 do
    if string.sub(all[i], 1, 1) ~= '=' then
      if holds(all[i + 1], now) then
        held = held + 1
      else
        map_del(guards, all[i])
      end
    end
  end
  if held >= cap then
    map_close(guards)
    return {'full'}
  end
end

local guard = ns_text(us + ARGV[3])
map_set(guards, ARGV[1], guard)
map_close(guards)
return {'ok', redis.call('XADD', KEYS[4], '*', 'n', 'j', 'p', ARGV[2]), guard}
