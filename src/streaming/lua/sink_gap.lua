-- What tells whether entries were trimmed before the group has read them.
--
-- KEYS  1 stream   ARGV  1 group
-- Returns {"gone"} or {"ok", last delivered id, first id or "", missing}; missing: how many entries
-- the group has passed by or is about to, -1 where the server cannot tell.  They are reported
-- once: the group's count of entries read is set as if it had read them.
if redis.replicate_commands then redis.replicate_commands() end

local stream, group = KEYS[1], ARGV[1]

local function fields_of(list)
  local fields = {}
  for i = 1, #list, 2 do fields[list[i]] = list[i + 1] end
  return fields
end

local function digits_less(a, b)
  if #a ~= #b then return #a < #b end
  return a < b
end
local function id_less(a, b)
  local ams, aseq = string.match(a, '^(%d+)-(%d+)$')
  local bms, bseq = string.match(b, '^(%d+)-(%d+)$')
  if ams ~= bms then return digits_less(ams, bms) end
  return digits_less(aseq, bseq)
end

local groups = redis.pcall('XINFO', 'GROUPS', stream)
if groups.err then return {'gone'} end
for _, g in ipairs(groups) do
  local fields = fields_of(g)
  if fields['name'] == group then
    local info = fields_of(redis.call('XINFO', 'STREAM', stream))
    local first = info['first-entry']
    local delivered = fields['last-delivered-id']
    local added, read = info['entries-added'], fields['entries-read']
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
  end
end
return {'gone'}
