-- Events for streams of nodes and workers, which may be gone.

local streams = {}  -- whether they exist

-- Adds an event with those of two headers that have a value: its id, or false without the stream.
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
