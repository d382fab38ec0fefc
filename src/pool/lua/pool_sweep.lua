-- Guards that do not hold any more go, and the pool's stream is cut below what its routers have
-- acked.
--
-- KEYS  1 pending-jobs  2 pool stream
-- ARGV  1 group of the routers  2 "1": the server has XTRIM MINID
-- Returns how many guards went.
if redis.replicate_commands then redis.replicate_commands() end

-- include pool.lua
-- include group.lua
-- include streams.lua
local guards = pool_map(KEYS[1])
if map_fault then return map_fault end

local before = #guards
local now = ns_text(now_us())
local all = redis.call('HGETALL', KEYS[1])
for i = 1, #all, 2 do
  if string.sub(all[i], 1, 1) ~= '=' and not holds(all[i + 1], now) then map_del(guards, all[i]) end
end
local gone = #guards - before
map_close(guards)

-- With another group on the stream nothing is cut: it may not have read it.
local groups = redis.pcall('XINFO', 'GROUPS', KEYS[2])
if groups.err or #groups ~= 1 then return gone end
local info = fields_of(groups[1])
if info.name ~= ARGV[1] then return gone end
local first = redis.call('XPENDING', KEYS[2], ARGV[1])[2] or info['last-delivered-id']
drop_before(KEYS[2], first, ARGV[2])
return gone
