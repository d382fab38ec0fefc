-- One XADD with what plain XADD cannot do in one step: a TTL, or "only if it
-- exists" on servers before 6.2.
-- KEYS[1] stream
-- ARGV[1] "1" = only if the stream exists
-- ARGV[2] TTL in ms, "0" = none     ARGV[3] "1" = sliding
-- ARGV[4] MAXLEN, "-1" = do not trim now
-- ARGV[5...] the fields
if ARGV[1] == '1' and redis.call('EXISTS', KEYS[1]) == 0 then
  return false
end
local args = {'XADD', KEYS[1]}
if ARGV[4] ~= '-1' then
  args[3], args[4], args[5] = 'MAXLEN', '~', ARGV[4]
end
args[#args + 1] = '*'
for i = 5, #ARGV do
  args[#args + 1] = ARGV[i]
end
local id = redis.call(unpack(args))
if ARGV[2] ~= '0' and (ARGV[3] == '1' or redis.call('PTTL', KEYS[1]) < 0) then
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
end
return id
