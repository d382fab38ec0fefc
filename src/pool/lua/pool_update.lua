-- What happened to the jobs of a worker, in order.
--
-- KEYS  1 workers  2 jobs  3 job-payloads  4 worker-keepalive  5 cleanup  6 pool stream
--       7 worker stream  8... node streams, two for each "ack": the router's, the dispatcher's
-- ARGV  1 worker id  2 group of the routers, then what happened:
--   own key payload     the worker has the job from now on
--   take key payload    the same, unless the job has ended: it existed before
--   end key             the job is over
--   drop key            the worker does not have it; the job is in the queue already
--   move key event      the same, and it goes to the queue
--   ack answer event dispatched
--                       the answer to a router; if it said which of the pool's events it is about,
--                       that one is done with, and its dispatcher, if there is one, told here: the
--                       router may be gone
--   read id             an event of the worker's stream was taken up
--   leaving             the worker gets no more jobs
--   gone                the worker leaves for good, if it has no job left
-- Returns 0 when the worker was declared dead (nothing is written then), else for each "own" and "take"
-- the worker that has the job already, or "", or "ended".
if redis.replicate_commands then redis.replicate_commands() end

-- include pool.lua
-- include map_list.lua
local id = ARGV[1]
local workers, jobs, payloads = pool_map(KEYS[1]), pool_map(KEYS[2]), pool_map(KEYS[3])
local alive, cleanup = pool_map(KEYS[4]), pool_map(KEYS[5])
local list = map_list(jobs, id)
if map_fault then return map_fault end
if redis.call('HEXISTS', KEYS[1], id) == 0 then return 0 end

-- The worker that has a job, if it exists: nobody can have one without a payload.
local lists
local function owner_of(key)
  if redis.call('HEXISTS', KEYS[3], key) == 0 then return '' end
  lists = lists or redis.call('HGETALL', KEYS[2])
  local plain = string.find(key, '^[%w%-_%.:]+$') and '"' .. key .. '"'
  for i = 1, #lists, 2 do
    if lists[i] ~= id and string.sub(lists[i], 1, 1) ~= '=' and
        (not plain or string.find(lists[i + 1], plain, 1, true)) then
      for _, item in ipairs(list_of(lists[i + 1]) or {}) do
        if item == key then return lists[i] end
      end
    end
  end
  return ''
end

local owners = {}
local place, changed = {}, false
for i, key in ipairs(list) do place[key] = i end
local function own(key)
  if place[key] then return end
  list[#list + 1] = key
  place[key] = #list
  changed = true
end
local function disown(key)
  if not place[key] then return end
  list[place[key]] = false
  place[key] = nil
  changed = true
end
local function save()
  if not changed then return end
  local kept = {}
  for _, key in ipairs(list) do
    if key then kept[#kept + 1] = key end
  end
  map_set_list(jobs, id, kept)
  changed = false
end

local stream = 8
local at = 3
while at <= #ARGV do
  local what = ARGV[at]
  local key = ARGV[at + 1]
  if what == 'take' and redis.call('HEXISTS', KEYS[3], key) == 0 then
    owners[#owners + 1] = 'ended'
    at = at + 3
  elseif what == 'own' or what == 'take' then
    owners[#owners + 1] = owner_of(key)
    own(key)
    map_set(payloads, key, ARGV[at + 2])
    at = at + 3
  elseif what == 'end' then
    disown(key)
    map_del(payloads, key)
    at = at + 2
  elseif what == 'drop' then
    disown(key)
    at = at + 2
  elseif what == 'move' then
    disown(key)
    redis.call('XADD', KEYS[6], '*', 'n', 'j', 'p', ARGV[at + 2])
    at = at + 3
  elseif what == 'ack' then
    local event, dispatched = ARGV[at + 2], ARGV[at + 3]
    local answer = {'XADD', KEYS[stream], '*', 'n', 'a', 'p', key}
    if event ~= '' then
      answer[8], answer[9] = 'h:settled', '1'
      redis.pcall('XACK', KEYS[6], ARGV[2], event)
    end
    if redis.call('EXISTS', KEYS[stream]) == 1 then redis.call(unpack(answer)) end
    if dispatched ~= '' and redis.call('EXISTS', KEYS[stream + 1]) == 1 then
      redis.call('XADD', KEYS[stream + 1], '*', 'n', 'd', 'p', dispatched)
    end
    stream = stream + 2
    at = at + 4
  elseif what == 'read' then
    redis.call('XDEL', KEYS[7], key)
    at = at + 2
  elseif what == 'leaving' then
    if redis.call('HGET', KEYS[1], id) ~= '-' then map_set(workers, id, '-') end
    at = at + 1
  else
    save()
    if redis.call('HEXISTS', KEYS[2], id) == 0 then
      map_del(workers, id)
      map_del(alive, id)
      map_del(cleanup, id)
      redis.call('DEL', KEYS[7])
    end
    at = at + 1
  end
end
save()
-- Owners before payloads: a payload that nobody owns looks lost.
map_close(jobs)
map_close(payloads)
map_close(workers)
map_close(alive)
map_close(cleanup)
return owners
