-- A worker's list of job keys, changed as the text that it is: decoding and encoding thousands of keys
-- for the sake of one would take longer than all else.
--
-- include list.lua

-- What a key is in a list that cjson has written; nil for keys that cannot be found in one without
-- reading it: they may look like the end of one item and the beginning of the next.
local function item_of(key)
  if string.find(key, '^[%w%-_%.:]+$') then return '"' .. key .. '"' end
  if not string.find(key, '^[,%]]') then return cjson.encode(key) end
end

-- Where an item begins in a list, at `from` or later.  An opening quote comes after the bracket or a
-- comma; a quote within an item, after a backslash; a closing one is followed by what no item that
-- is looked for begins with.
local function find_item(text, item, from)
  if from <= 2 and string.sub(text, 2, 1 + #item) == item then return 2 end
  local comma = string.find(text, ',' .. item, from, true)
  return comma and comma + 1
end

-- Whether the list holds the key.
local function list_text_has(text, key)
  local item = item_of(key)
  if item then return find_item(text, item, 1) ~= nil end
  for _, other in ipairs(list_of(text)) do
    if other == key then return true end
  end
  return false
end

-- Looked for one by one, so many; more of them are worth a reading of the list.
local few_items = 16
-- What ends soon was appended not long ago.
local near_end = 4096

-- The list without keys: its text, "[]" when none is left.  Nil if it has to be read for that.
local function cut_items(text, keys)
  if #keys > few_items then return nil end
  local places = {}
  for _, key in ipairs(keys) do
    local item = item_of(key)
    local at = item and (find_item(text, item, math.max(1, #text - near_end)) or
                         find_item(text, item, 1))
    if not at then return nil end
    places[#places + 1] = {at, #item}
  end
  table.sort(places, function(a, b) return a[1] < b[1] end)
  -- Each goes with the bracket or comma before it.
  local parts, from = {}, 1
  for _, place in ipairs(places) do
    parts[#parts + 1] = string.sub(text, from, place[1] - 2)
    from = place[1] + place[2]
  end
  parts[#parts + 1] = string.sub(text, from)
  text = table.concat(parts)
  if string.sub(text, 1, 1) == '[' then return text end
  return '[' .. string.sub(text, text == ']' and 1 or 2)
end

local function without_items(text, keys)
  local cut = cut_items(text, keys)
  if cut then return cut end
  local list = list_of(text)
  local kept = list_without(list, keys, 1, #keys)
  if #kept == #list then return text end
  return kept[1] and cjson.encode(kept) or '[]'
end

local function with_items(text, keys)
  local items = {}
  for i, key in ipairs(keys) do items[i] = item_of(key) or cjson.encode(key) end
  local joined = table.concat(items, ',')
  if text == '[]' then return '[' .. joined .. ']' end
  return string.sub(text, 1, -2) .. ',' .. joined .. ']'
end

-- The text of a list as it is changed here, whatever older writers left; nil if it is no list of texts.
local function list_text_of(value)
  if not value then return '[]' end
  if string.sub(value, 1, 2) == '["' and string.sub(value, -2) == '"]' then return value end
  local list = list_of(value)
  for _, item in ipairs(list or {}) do
    if type(item) ~= 'string' then return nil end
  end
  return list and (list[1] and cjson.encode(list) or '[]')
end

-- A list that is changed in a script run: job_list(value), nil if it is none.
local function job_list(value)
  local text = list_text_of(value)
  return text and {text = text, added = {}, place = {}, gone = {}}
end

local function job_list_has(list, key)
  if list.place[key] then return true end
  return not list.gone[key] and list_text_has(list.text, key)
end

-- `new`: the key is known not to be in the list.
local function job_list_add(list, key, new)
  if list.place[key] then return end
  if not new or list.gone[key] then
    list.gone[key] = nil
    if list_text_has(list.text, key) then return end
  end
  list.added[#list.added + 1] = key
  list.place[key] = #list.added
end

local function job_list_remove(list, key)
  local place = list.place[key]
  if place then
    list.added[place] = false
    list.place[key] = nil
  else
    list.gone[key] = true
  end
end

-- Its text with all changes, nil if it has no key; and whether it has changed since the last time.
local function job_list_text(list)
  local before, gone, added = list.text, {}, {}
  for key in pairs(list.gone) do gone[#gone + 1] = key end
  for _, key in ipairs(list.added) do
    if key then added[#added + 1] = key end
  end
  if gone[1] then list.text = without_items(list.text, gone) end
  if added[1] then list.text = with_items(list.text, added) end
  list.added, list.place, list.gone = {}, {}, {}
  return list.text ~= '[]' and list.text or nil, list.text ~= before
end
