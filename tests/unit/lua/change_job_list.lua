-- Changes a list of job keys.
--
-- ARGV  1 the value it has, "" for none  2... what to do, in pairs: operation, key
-- Returns for each "has" 1 or 0, and for each "save" {1 if it has changed, 1 if its text is what cjson
-- writes, its items...}; "fault" when the value is no list.
-- include job_list.lua
local list = job_list(ARGV[1] ~= '' and ARGV[1])
if not list then return 'fault' end
local results = {}
for i = 2, #ARGV, 2 do
  local operation, key = ARGV[i], ARGV[i + 1]
  if operation == 'new' or operation == 'add' then
    job_list_add(list, key, operation == 'new')
  elseif operation == 'remove' then
    job_list_remove(list, key)
  elseif operation == 'has' then
    results[#results + 1] = job_list_has(list, key) and 1 or 0
  else
    local text, changed = job_list_text(list)
    local items = text and cjson.decode(text) or {}
    local result = {changed and 1 or 0, (not text or cjson.encode(items) == text) and 1 or 0}
    for _, item in ipairs(items) do result[#result + 1] = item end
    results[#results + 1] = result
  end
end
return results
