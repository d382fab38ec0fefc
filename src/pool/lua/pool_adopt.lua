-- Jobs that no worker has, that are not in the queue and that no dispatch is under way for go back to
-- the queue.  The guard keeps other nodes from doing the same.
--
-- KEYS  1 job-payloads  2 pending-jobs  3 pool stream
-- ARGV  1 node id  2 how long the guard holds, in us  3 group of the routers  4... keys
-- Returns how many were put back.
if redis.replicate_commands then redis.replicate_commands() end

-- include pool_requeue.lua
local guards = pool_map(KEYS[2])
if map_fault then return map_fault end

local wanted = {}
for i = 4, #ARGV do wanted[ARGV[i]] = true end

-- Those that are in the queue will be routed; when it is long, nothing is put there on a suspicion.
local kMost = 2000
local group
local groups = redis.pcall('XINFO', 'GROUPS', KEYS[3])
for _, g in ipairs(groups) do
  local info = {}
  for i = 1, #g, 2 do info[g[i]] = g[i + 1] end
  if info.name == ARGV[3] then group = info end
end
if not group then return 0 end
local last = group['last-delivered-id']
local from = redis.call('XPENDING', KEYS[3], ARGV[3])[2] or last
local queue = redis.call('XRANGE', KEYS[3], from, '+', 'COUNT', kMost)
if #queue == kMost then return 0 end
local delivered = true
for _, entry in ipairs(queue) do
  local id, fields = entry[1], entry[2]
  local pending = not delivered
  local name, job
  for i = 1, #fields, 2 do
    if fields[i] == 'n' then name = fields[i + 1] end
    if fields[i] == 'p' then job = fields[i + 1] end
  end
  if name == 'j' and job and #job > 4 then
    local key = string.sub(job, 5, 4 + struct.unpack('<I4', job))
    if wanted[key] then
      pending = pending or #redis.call('XPENDING', KEYS[3], ARGV[3], id, id, 1) > 0
      if pending then wanted[key] = nil end
    end
  end
  if id == last then delivered = false end
end

local us = now_us()
local now, guard = ns_text(us), ns_text(us + ARGV[2])
local back = 0
for i = 4, #ARGV do
  local key = ARGV[i]
  local payload = wanted[key] and redis.call('HGET', KEYS[1], key)
  if payload and not holds(redis.call('HGET', KEYS[2], key), now) then
    map_set(guards, key, guard)
    requeue(KEYS[3], ARGV[1], key, payload, us)
    back = back + 1
  end
end
map_close(guards)
return back
