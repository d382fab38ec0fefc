-- The server's time in ns, as text; `after`: so many ms later (or earlier).
local function now_ns(after)
  local now = redis.call('TIME')
  return string.format('%.0f', now[1] * 1000000 + now[2] + (after or 0) * 1000) .. '000'
end
