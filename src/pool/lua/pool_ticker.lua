-- A ticker's entry `<next point of its grid, us>|<interval>`: all nodes that have the ticker wait for
-- the point, and one of them moves the entry on.
--
-- KEYS  1 tickers  2 shutdown
-- ARGV  1 ticker  2 its entry as it is known, "" for none  3 what is wanted:
--   look   nothing but the answer
--   open   another entry, or a first one: a whole interval from now
--   mend   an entry on the grid of one that the server has lost
--   take   the point that has come
--   drop   no entry any more
--       4 interval in whole us  5 the ns beyond  6 interval as text  7 a point of the grid, in us
--       8 how many us a point can be ahead  9 "1": make up for what was missed
-- Returns {outcome, entry or nil, revision, now in us, point, missed}.  Outcomes:
--   is             of look
--   other          the entry is not as it is known: nothing was done
--   shutting_down  no entry is made or dropped any more
--   set            of open and mend
--   gone           of drop
--   early          the point is still to come
--   moved          the same, but so far ahead that the server's clock must have been set back
--   skipped        `missed` points were passed over, without a tick
--   taken          `point` is the caller's, after `missed` others that nobody took
if redis.replicate_commands then redis.replicate_commands() end

-- include pool.lua
local tickers = pool_map(KEYS[1])
if map_fault then return map_fault end

-- So late may a point be taken even if the next one has come as well: else a ticker that is faster
-- than its nodes would never tick.
local late_us = 1000000

local name, known, wanted = ARGV[1], ARGV[2], ARGV[3]
local current = redis.call('HGET', KEYS[1], name)
local now = now_us()

local function answer(outcome, point, missed)
  map_close(tickers)
  return {outcome, current, tickers.rev, string.format('%.0f', now),
          string.format('%.0f', point or 0), missed or 0}
end

if wanted == 'look' then return answer('is') end
if wanted ~= 'take' and redis.call('HEXISTS', KEYS[2], 'shutdown') == 1 then
  return answer('shutting_down')
end
if (current or '') ~= known then return answer('other') end

if wanted == 'drop' then
  map_del(tickers, name)
  current = false
  return answer('gone')
end

local whole, rest, first = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[7])

-- The k-th point after the one that is known.  Never from now on: the grid must not drift.
local function at(k) return first + k * whole + math.floor(k * rest / 1000) end

-- The number of the next point to come.
local function next_one()
  local k = math.floor((now - first) / (whole + rest / 1000))
  while at(k) > now do k = k - 1 end
  while at(k) <= now do k = k + 1 end
  return k
end

local function set(point)
  current = string.format('%.0f', point) .. '|' .. ARGV[6]
  map_set(tickers, name, current)
end

if wanted == 'open' then
  set(now + whole)
  return answer('set')
end
local k = next_one()
if wanted == 'mend' then
  set(at(math.max(k, 0)))
  return answer('set')
end
if now < first then
  if first - now <= tonumber(ARGV[8]) then return answer('early') end
  set(at(k))
  return answer('moved')
end
set(at(k))
if k > 1 and now - first > late_us and ARGV[9] ~= '1' then return answer('skipped', 0, k) end
return answer('taken', at(k - 1), k - 1)
