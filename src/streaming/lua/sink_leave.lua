-- A consumer leaves the group of a sink on one stream for good: what is pending under it is
-- given back, and the group goes when nobody is left.
--
-- KEYS  1 stream  2 consumers map of the stream
-- ARGV  1 group  2 consumer  3 channel of the consumers map  4 idle time in ms
-- Returns 1 if the group was destroyed, else 0.
if redis.replicate_commands then redis.replicate_commands() end

-- include map_list.lua
local stream = KEYS[1]
local group, consumer, idle = ARGV[1], ARGV[2], ARGV[4]
local consumers = map_open(KEYS[2], ARGV[3])
local list = map_list(consumers, group)
if map_fault then return map_fault end

local kept = list_without(list, {consumer}, 1, 1)
if #kept < #list then
  map_set_list(consumers, group, kept)
  map_close(consumers)
end

if #kept == 0 then
  local destroyed = redis.pcall('XGROUP', 'DESTROY', stream, group)
  return type(destroyed) == 'number' and destroyed or 0
end

local start = '-'
while true do
  local page = redis.pcall('XPENDING', stream, group, start, '+', 500, consumer)
  if page.err then break end
  if #page == 0 or (#page == 1 and page[1][1] == start) then break end
  for _, p in ipairs(page) do
    redis.call('XCLAIM', stream, group, consumer, '0', p[1], 'IDLE', idle, 'RETRYCOUNT', p[4],
               'JUSTID')
    start = p[1]
  end
end
return 0
