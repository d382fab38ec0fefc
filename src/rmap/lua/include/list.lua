-- Lists, as values of maps hold them.

-- The items of a value (false or nil: none): a JSON array, else comma-separated as older writers left
-- it.  Nil for a JSON object.
local function list_of(value)
  if not value then return {} end
  local ok, decoded = pcall(cjson.decode, value)
  if ok and type(decoded) == 'table' then
    if string.find(value, '^%s*{') then return nil end
    return decoded
  end
  local list = {}
  for item in string.gmatch(value, '[^,]+') do list[#list + 1] = item end
  return list
end

-- Nil for what can be read and not be written, like numbers beyond all bounds: it must not end the
-- script, in which others have written already.
local function list_text(list)
  local ok, text = pcall(cjson.encode, list)
  return ok and text or nil
end

-- Appends from[first] to from[last] as far as they are not in the list; whether any was not.
local function list_add(list, from, first, last)
  local present, before = {}, #list
  for _, item in ipairs(list) do
    if item == item then present[item] = true end  -- NaN is no index
  end
  for i = first, last do
    local item = from[i]
    if not present[item] then
      present[item] = true
      list[#list + 1] = item
    end
  end
  return #list > before
end

-- A list without from[first] to from[last]: as long as before if none of them was in it.
local function list_without(list, from, first, last)
  local unwanted, kept = {}, {}
  for i = first, last do unwanted[from[i]] = true end
  for _, item in ipairs(list) do
    if not unwanted[item] then kept[#kept + 1] = item end
  end
  return kept
end
