-- Dispatches were answered: their guards go, unless they are somebody else's by now.
--
-- KEYS  1 pending-jobs
-- ARGV  pairs of key and guard
if redis.replicate_commands then redis.replicate_commands() end

-- include pool.lua
local keys = {}
for i = 1, #ARGV, 2 do keys[#keys + 1] = ARGV[i] end
local guards = pool_batch(KEYS[1], keys)
if map_fault then return map_fault end
for i = 1, #ARGV, 2 do
  if guards.values[ARGV[i]] == ARGV[i + 1] then batch_del(guards, ARGV[i]) end
end
batch_close(guards)
return 1
