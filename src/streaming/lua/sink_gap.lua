-- What tells whether entries were trimmed before the group has read them.
--
-- KEYS  1 stream   ARGV  1 group
-- Returns {"gone"} or {"ok", last delivered id, first id or "", missing}; missing: how many entries
-- the group has passed by or is about to, -1 where the server cannot tell.  They are reported
-- once: the group's count of entries read is set as if it had read them.
if redis.replicate_commands then redis.replicate_commands() end

-- include event_id.lua
-- include group.lua
local stream, group = KEYS[1], ARGV[1]
local there = find_group(stream, group)
if not there then return {'gone'} end

local info = fields_of(redis.call('XINFO', 'STREAM', stream))
local first = info['first-entry']
local delivered = there['last-delivered-id']
local added, read = info['entries-added'], there['entries-read']
local missing = -1
if added and read then
  local passed
  if first and id_less(delivered, first[1]) then
    passed = added - info['length']
  elseif delivered == info['last-generated-id'] then
    passed = added
  end
  if passed then
    missing = math.max(passed - read, 0)
    if missing > 0 then
      redis.call('XGROUP', 'SETID', stream, group, delivered, 'ENTRIESREAD',
                 string.format('%.0f', passed))
    end
  end
end
return {'ok', delivered, first and first[1] or '', missing}
