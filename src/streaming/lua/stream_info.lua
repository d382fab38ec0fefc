-- PTTL and XINFO STREAM in one step; nil when there is no such stream.  Of the first and the last
-- entry only {id}: their payloads may be large.
-- KEYS[1] stream
if redis.call('EXISTS', KEYS[1]) == 0 then
  return false
end
local info = redis.call('XINFO', 'STREAM', KEYS[1])
for i = 1, #info, 2 do
  if (info[i] == 'first-entry' or info[i] == 'last-entry') and info[i + 1] then
    info[i + 1] = {info[i + 1][1]}
  end
end
return {redis.call('PTTL', KEYS[1]), info}
