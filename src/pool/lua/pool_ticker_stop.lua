-- A ticker, or a schedule, stops on all nodes.
--
-- KEYS  1 tickers  2 the schedule's jobs, if it is one
-- ARGV  1 ticker; "": just the jobs are forgotten
-- Returns 1 if there was one, else 0.
if redis.replicate_commands then redis.replicate_commands() end

-- include pool.lua
local tickers = pool_map(KEYS[1])
local jobs = KEYS[2] and pool_map(KEYS[2])
if map_fault then return map_fault end
if jobs then
  map_empty(jobs, 'reset')
  map_close(jobs)
end
local there = ARGV[1] ~= '' and map_del(tickers, ARGV[1])
map_close(tickers)
return there and 1 or 0
