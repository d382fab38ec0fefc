-- What has become of a job.
--
-- KEYS  1 job-payloads  2 pending-jobs  3 jobs
-- ARGV  1 key
-- Returns {state as in pulse_job_state, worker id or ""}.
if redis.replicate_commands then redis.replicate_commands() end

-- include pool.lua
-- include list.lua
local key = ARGV[1]
if redis.call('HEXISTS', KEYS[1], key) == 0 then
  return {holds(redis.call('HGET', KEYS[2], key), ns_text(now_us())) and 1 or 0, ''}
end
local workers = redis.call('HGETALL', KEYS[3])
for i = 1, #workers, 2 do
  if string.sub(workers[i], 1, 1) ~= '=' then
    for _, item in ipairs(list_of(workers[i + 1]) or {}) do
      if item == key then return {3, workers[i]} end
    end
  end
end
return {2, ''}
