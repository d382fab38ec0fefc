-- Dispatches jobs: the guard that keeps others from doing the same, and the event for the routers.
--
-- KEYS  1 job-payloads  2 pending-jobs  3 shutdown  4 pool stream
-- ARGV  1 how long a guard holds, in us  2 guards that may hold at a time  3 group of the routers
--       4... key and job of each
-- Returns the guard that all get, then for each the id of its event, or why it has none: "exists",
-- "pending", "full", "no_pool" or "shutting_down".
if redis.replicate_commands then redis.replicate_commands() end

-- include pool.lua
-- include group.lua
local keys = {}
for i = 4, #ARGV, 2 do keys[#keys + 1] = ARGV[i] end
local guards = pool_batch(KEYS[2], keys)
if map_fault then return map_fault end

local ending = redis.call('HEXISTS', KEYS[3], 'shutdown') == 1
local payloads = redis.call('HMGET', KEYS[1], unpack(keys))
local us = now_us()
local now, guard = ns_text(us), ns_text(us + ARGV[1])
local routed = find_group(KEYS[4], ARGV[3])

-- How many guards hold, if all of these together may be too many.
local cap, held = tonumber(ARGV[2]), 0
if redis.call('HLEN', KEYS[2]) + #keys > cap then
  local all = redis.call('HGETALL', KEYS[2])
  for i = 1, #all, 2 do
    if string.sub(all[i], 1, 1) ~= '=' then
      guards.values[all[i]] = all[i + 1]
      if holds(all[i + 1], now) then
        held = held + 1
      else
        batch_del(guards, all[i])
      end
    end
  end
end

local results = {guard}
local accepted = {}
for i, key in ipairs(keys) do
  local result
  if ending then
    result = 'shutting_down'
  elseif payloads[i] then
    result = 'exists'
  elseif holds(guards.values[key], now) then
    result = 'pending'
  elseif not routed then
    result = 'no_pool'
  elseif held >= cap then
    result = 'full'
  else
    held = held + 1
    batch_set(guards, key, guard)
    accepted[#accepted + 1] = i
  end
  results[i + 1] = result
end
-- The guards first: what the server refuses to write it refuses before anything was written.
batch_close(guards)
for _, i in ipairs(accepted) do
  results[i + 1] =
      redis.call('XADD', KEYS[4], '*', 'n', 'j', 'p', ARGV[2 * i + 3], 'h:guard', guard)
end
return results
