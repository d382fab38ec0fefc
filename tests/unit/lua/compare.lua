-- ARGV  pairs of event ids.  Returns for each whether the first one is less; then the time, and that a
-- minute before and after it.
-- include event_id.lua
-- include time.lua
local results = {}
for i = 1, #ARGV, 2 do results[#results + 1] = id_less(ARGV[i], ARGV[i + 1]) and 1 or 0 end
results[#results + 1] = now_ns()
results[#results + 1] = now_ns(-60000)
results[#results + 1] = now_ns(60000)
return results
