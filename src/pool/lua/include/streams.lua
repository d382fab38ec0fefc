-- Events of the streams that pools have.

-- Drops what comes before the event `next`; `trims` "1": the server has XTRIM MINID.  Else some of it
-- may be left for the next time.
local function drop_before(stream, next, trims)
  if trims == '1' then return redis.call('XTRIM', stream, 'MINID', next) end
  local old = {}
  for _, entry in ipairs(redis.call('XRANGE', stream, '-', next, 'COUNT', 1000)) do
    if entry[1] ~= next then old[#old + 1] = entry[1] end
  end
  if old[1] then redis.call('XDEL', stream, unpack(old)) end
end

local streams = {}  -- whether they exist

-- Adds an event with those of two headers that have a value: its id, or false when the stream is gone.
local function add_to(stream, name, payload, header, value, header_2, value_2)
  if streams[stream] == nil then streams[stream] = redis.call('EXISTS', stream) == 1 end
  if not streams[stream] then return false end
  if value == '' then header, value, header_2, value_2 = header_2, value_2, header, value end
  if value == '' then return redis.call('XADD', stream, '*', 'n', name, 'p', payload) end
  if value_2 == '' then
    return redis.call('XADD', stream, '*', 'n', name, 'p', payload, header, value)
  end
  return redis.call('XADD', stream, '*', 'n', name, 'p', payload, header, value, header_2, value_2)
end
