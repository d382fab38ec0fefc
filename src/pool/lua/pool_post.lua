-- An event for the routers, if there are any.
--
-- KEYS  1 pool stream
-- ARGV  1 group of the routers  2 name  3 payload
-- Returns its id, or nil.
if redis.replicate_commands then redis.replicate_commands() end

local groups = redis.pcall('XINFO', 'GROUPS', KEYS[1])
for _, group in ipairs(groups) do
  for i = 1, #group, 2 do
    if group[i] == 'name' and group[i + 1] == ARGV[1] then
      return redis.call('XADD', KEYS[1], '*', 'n', ARGV[2], 'p', ARGV[3])
    end
  end
end
return false
