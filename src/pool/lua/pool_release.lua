-- Dispatches were answered: their guards go, unless they are somebody else's by now.
--
-- KEYS  1 pending-jobs
-- ARGV  pairs of key and guard
if redis.replicate_commands then redis.replicate_commands() end

-- include pool.lua
local guards = pool_map(KEYS[1])
if map_fault then return map_fault end
for i = 1, #ARGV, 2 do
  if redis.call('HGET', KEYS[1], ARGV[i]) == ARGV[i + 1] then map_del(guards, ARGV[i]) end
end
map_close(guards)
return 1
