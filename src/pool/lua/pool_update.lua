-- What happened to the jobs of the workers of a node, in order.
--
-- KEYS  1 workers  2 jobs  3 job-payloads  4 worker-keepalive  5 cleanup  6 pending-jobs  7 pool stream
--       8... for each worker its stream, and two node streams for each "ack": the router's, the
--       dispatcher's
-- ARGV  1 group of the routers  2 "1": the server has XTRIM MINID  3 number of workers, then for each its
--       id, "1" if this may have been done before, the first event of its stream that was not taken up
--       or "", the number of arguments, and what happened:
--   own key payload     the worker has the job from now on
--   take key payload    the same, unless the job has ended: it existed before
--   end key             the job is over
--   drop key            the worker does not have it; the job is in the queue already
--   move key event      the same, and it goes to the queue
--   ack answer event dispatched key guard
--                       the answer to a router; if it said which of the pool's events it is about,
--                       that one is done with, and its dispatcher, if there is one, told here: the
--                       router may be gone.  The dispatcher's guard goes before he is told, if his
--                       event said which it is.
--   leaving             the worker gets no more jobs
--   gone                the worker leaves for good, if it has no job left
-- Returns for each worker 0 when it was declared dead (nothing is written of it then), else for each
-- "own" and "take" the worker that has the job already, or "", or "ended".
if redis.replicate_commands then redis.replicate_commands() end

-- include pool.lua
-- include job_list.lua
-- include streams.lua

-- --- what there is to do, and what must be known for it

local arguments = {own = 2, take = 2, ['end'] = 1, drop = 1, move = 2, ack = 5, leaving = 0, gone = 0}
local sections, ids, job_keys, guard_keys = {}, {}, {}, {}
local leaves
do
  local at, stream = 4, 8
  for n = 1, tonumber(ARGV[3]) do
    local first, last = at + 4, at + 3 + ARGV[at + 3]
    sections[n] = {id = ARGV[at], again = ARGV[at + 1] == '1', unread = ARGV[at + 2], first = first,
                   last = last, stream = stream}
    ids[n] = ARGV[at]
    stream = stream + 1
    at = first
    while at <= last do
      local what = ARGV[at]
      if what == 'own' or what == 'take' or what == 'end' then
        job_keys[#job_keys + 1] = ARGV[at + 1]
      elseif what == 'ack' then
        stream = stream + 2
        if ARGV[at + 5] ~= '' then guard_keys[#guard_keys + 1] = ARGV[at + 4] end
      elseif what == 'gone' then
        leaves = true
      end
      at = at + 1 + arguments[what]
    end
  end
end

local nobody = {kind = false, changed = {}}
local workers, jobs = pool_batch(KEYS[1], ids), pool_batch(KEYS[2], ids)
local payloads = job_keys[1] and pool_batch(KEYS[3], job_keys) or nobody
local guards = guard_keys[1] and pool_batch(KEYS[6], guard_keys) or nobody
local alive = leaves and pool_batch(KEYS[4], ids) or nobody
local cleanup = leaves and pool_batch(KEYS[5], ids) or nobody
local lists = {}
for _, section in ipairs(sections) do
  local id = section.id
  if workers.values[id] then
    lists[id] = job_list(jobs.values[id])
    if not lists[id] and not map_fault then
      map_fault = {err = 'WRONGTYPE the value of ' .. id .. ' is no list of texts'}
    end
  end
end
if map_fault then return map_fault end

-- The worker that has a job, if it exists: nobody can have one without a payload.
local others
local function owner_of(key, id)
  if not payloads.values[key] then return '' end
  for other, list in pairs(lists) do
    if other ~= id and job_list_has(list, key) then return other end
  end
  others = others or redis.call('HGETALL', KEYS[2])
  local plain = string.find(key, '^[%w%-_%.:]+$') and '"' .. key .. '"'
  for i = 1, #others, 2 do
    if not lists[others[i]] and string.sub(others[i], 1, 1) ~= '=' and
        (not plain or string.find(others[i + 1], plain, 1, true)) then
      for _, item in ipairs(list_of(others[i + 1]) or {}) do
        if item == key then return others[i] end
      end
    end
  end
  return ''
end

-- --- doing it

local settled = {}

local function save(id)
  local text, changed = job_list_text(lists[id])
  if not changed then return end
  if text then
    batch_set(jobs, id, text)
  else
    batch_del(jobs, id)
  end
end

local function answer(at, stream)
  local text, event, dispatched, key, guard = unpack(ARGV, at + 1, at + 5)
  if event ~= '' then settled[#settled + 1] = event end
  local released = ''
  if guard ~= '' then
    released = '1'
    if guards.values[key] == guard then batch_del(guards, key) end
  end
  add_to(KEYS[stream], 'a', text, 'h:settled', event ~= '' and '1' or '', '', '')
  if dispatched ~= '' then
    add_to(KEYS[stream + 1], 'd', dispatched, 'h:released', released, '', '')
  end
end

local function update(section)
  local id, list = section.id, lists[section.id]
  local owners = {}
  local at, stream = section.first, section.stream + 1
  while at <= section.last do
    local what, key = ARGV[at], ARGV[at + 1]
    if what == 'take' and not payloads.values[key] then
      owners[#owners + 1] = 'ended'
    elseif what == 'own' or what == 'take' then
      owners[#owners + 1] = owner_of(key, id)
      job_list_add(list, key, what == 'own' and not section.again)
      batch_set(payloads, key, ARGV[at + 2])
    elseif what == 'end' then
      job_list_remove(list, key)
      batch_del(payloads, key)
    elseif what == 'drop' then
      job_list_remove(list, key)
    elseif what == 'move' then
      job_list_remove(list, key)
      redis.call('XADD', KEYS[7], '*', 'n', 'j', 'p', ARGV[at + 2])
    elseif what == 'ack' then
      answer(at, stream)
      stream = stream + 2
    elseif what == 'leaving' then
      if workers.values[id] ~= '-' then batch_set(workers, id, '-') end
    else
      save(id)
      if not jobs.values[id] then
        batch_del(workers, id)
        batch_del(alive, id)
        batch_del(cleanup, id)
        redis.call('DEL', KEYS[section.stream])
        streams[KEYS[section.stream]] = false
      end
    end
    at = at + 1 + arguments[what]
  end
  save(id)
  if section.unread ~= '' then drop_before(KEYS[section.stream], section.unread, ARGV[2]) end
  return owners
end

local results = {}
for n, section in ipairs(sections) do
  results[n] = lists[section.id] and update(section) or 0
end
if settled[1] then redis.pcall('XACK', KEYS[7], ARGV[1], unpack(settled)) end
-- Owners before payloads: a payload that nobody owns looks lost.
batch_close(jobs)
batch_close(payloads)
batch_close(guards)
batch_close(workers)
batch_close(alive)
batch_close(cleanup)
return results
