-- Events for streams that exist: from routers to workers, from workers to routers, and from routers
-- to dispatchers.
--
-- KEYS  1 own node stream  2... streams, one for each event
-- ARGV  1 number of ids  ids that were read from the own stream...  then for each event its name, its
--       payload, the id of the pool's event that it stands for or "", and its dispatcher's guard or ""
-- Returns the id of each, or nil where there is no such stream.
if redis.replicate_commands then redis.replicate_commands() end

-- include streams.lua
local at = 2
local read = tonumber(ARGV[1])
for first = at, at + read - 1, 1000 do
  redis.call('XDEL', KEYS[1], unpack(ARGV, first, math.min(first + 999, at + read - 1)))
end
at = at + read
local ids = {}
for i = 2, #KEYS do
  ids[i - 1] = add_to(KEYS[i], ARGV[at], ARGV[at + 1], 'h:event', ARGV[at + 2], 'h:guard',
                      ARGV[at + 3])
  at = at + 4
end
return ids
