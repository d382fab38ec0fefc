-- A schedule notes which jobs it has, and stops some.
--
-- KEYS  1 the schedule's jobs  2 pool stream
-- ARGV  1 group of the routers, then what is to be done:
--   set key text     it has started the job
--   seen key text    the job exists; it is the schedule's if that does not know it yet
--   stop key event   the routers are asked to stop it, and the schedule has it no more
-- Returns how many are to stop, or -1 when nobody routes.
if redis.replicate_commands then redis.replicate_commands() end

-- include pool.lua
-- include group.lua
local jobs = pool_map(KEYS[1])
if map_fault then return map_fault end

local routed
local function is_routed()
  if routed == nil then routed = find_group(KEYS[2], ARGV[1]) ~= nil end
  return routed
end

local stopped = 0
for at = 2, #ARGV, 3 do
  local what, key, text = ARGV[at], ARGV[at + 1], ARGV[at + 2]
  if what == 'stop' then
    if is_routed() then
      redis.call('XADD', KEYS[2], '*', 'n', 's', 'p', text)
      map_del(jobs, key)
      stopped = stopped + 1
    end
  elseif what == 'set' or redis.call('HEXISTS', KEYS[1], key) == 0 then
    map_set(jobs, key, text)
  end
end
map_close(jobs)
if routed == false then return -1 end
return stopped
