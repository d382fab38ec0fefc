-- A flat list of names and values, by name.
local function fields_of(list)
  local fields = {}
  for i = 1, #list, 2 do fields[list[i]] = list[i + 1] end
  return fields
end

-- What XINFO tells of a group, by name.  Nil if there is none; then also the error, if it says one.
local function find_group(stream, group)
  local groups = redis.pcall('XINFO', 'GROUPS', stream)
  if groups.err then return nil, groups end
  for _, g in ipairs(groups) do
    local fields = fields_of(g)
    if fields['name'] == group then return fields end
  end
end
