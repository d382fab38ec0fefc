-- Whole numbers as texts, which Lua's numbers are too short for: without sign and leading zeros.

local function digits_less(a, b)
  if #a ~= #b then return #a < #b end
  return a < b
end
