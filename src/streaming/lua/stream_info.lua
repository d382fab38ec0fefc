-- XINFO STREAM and PTTL in one step; nil when there is no such stream.
-- KEYS[1] stream
if redis.call('EXISTS', KEYS[1]) == 0 then
  return false
end
return {redis.call('PTTL', KEYS[1]), redis.call('XINFO', 'STREAM', KEYS[1])}
