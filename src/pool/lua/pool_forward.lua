-- Events for streams that exist: from routers to workers, from workers to routers, and from routers
-- to dispatchers.
--
-- KEYS  1 own node stream  2... streams, one for each event
-- ARGV  1 the first event of the own stream that was not read, or ""  2 "1": the server has XTRIM MINID
--       then for each event its name, its payload, the id of the pool's event that it stands for or
--       "", and its dispatcher's guard or ""
-- Returns the id of each, or nil where there is no such stream.
if redis.replicate_commands then redis.replicate_commands() end

-- include streams.lua
if ARGV[1] ~= '' then drop_before(KEYS[1], ARGV[1], ARGV[2]) end
local ids = {}
for i = 2, #KEYS do
  local at = 4 * i - 5
  ids[i - 1] = add_to(KEYS[i], ARGV[at], ARGV[at + 1], 'h:event', ARGV[at + 2], 'h:guard',
                      ARGV[at + 3])
end
return ids
