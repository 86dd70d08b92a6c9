-- Reads JSON. Objects and arrays become tables, and a list of numbers alone becomes {numbers = TEXT}: see `numbers`.

local MOST_VALUES, MOST_DEPTH = 100000, 32
local ESCAPES = {b = "\b", f = "\f", n = "\n", r = "\r", t = "\t"}

-- A string without its escapes. Those of other characters than ASCII become the byte 255, which no text in UTF-8 has.
local function unescape(text)
  return (string.gsub(text, "\\(.)(%x?%x?%x?%x?)", function(letter, digits)
    if letter ~= "u" then
      return (ESCAPES[letter] or letter) .. digits
    end
    local code = tonumber(digits, 16) or 255
    return string.char(code < 128 and code or 255)
  end))
end

-- The value of a text. Raises an error with a table if it is no JSON, or JSON that this server does not read.
local function parse_json(text)
  local at, values = 1, 0

  local function refuse(what)
    error({"the JSON of the request: " .. what .. " at byte " .. at})
  end

  local function skip()
    at = string.find(text, "[^ \t\r\n]", at) or string.len(text) + 1
    return string.sub(text, at, at)
  end

  local function parse_string()
    local from = at + 1
    local to = from
    while true do
      to = string.find(text, '["\\]', to)
      if not to then
        refuse("a string without an end")
      elseif string.byte(text, to) == 34 then
        break
      end
      to = to + 2
    end
    at = to + 1
    return unescape(string.sub(text, from, to - 1))
  end

  -- Calls read() for each part of a list or an object, up to the sign that closes it.
  local function read_parts(close, read)
    at = at + 1
    if skip() == close then
      at = at + 1
      return
    end
    while true do
      read()
      local sign = skip()
      at = at + 1
      if sign == close then
        return
      elseif sign ~= "," then
        refuse("a list or an object without an end")
      end
    end
  end

  local function parse_value(depth)
    values = values + 1
    if values > MOST_VALUES then
      refuse("more than " .. MOST_VALUES .. " values")
    elseif depth > MOST_DEPTH then
      refuse("more than " .. MOST_DEPTH .. " levels")
    end
    local first = skip()
    if first == '"' then
      return parse_string()
    elseif first == "[" then
      local numbers, behind = string.match(text, "^%[([%d%s,.eE+-]*)%]()", at)
      if numbers then
        at = behind
        return {numbers = numbers}
      end
      local list = {}
      read_parts("]", function()
        list[#list + 1] = parse_value(depth + 1) or false
      end)
      return list
    elseif first == "{" then
      local object = {}
      read_parts("}", function()
        if skip() ~= '"' then
          refuse("a member without a name")
        end
        local name = parse_string()
        if object[name] ~= nil then
          refuse("a name that is there twice")
        elseif skip() ~= ":" then
          refuse("a member without a value")
        end
        at = at + 1
        object[name] = parse_value(depth + 1) or false
      end)
      return object
    end
    local word, behind = string.match(text, "^([%w.+-]+)()", at)
    if not word then
      refuse("no value")
    end
    at = behind
    return tonumber(word) or word == "true"
  end

  local value = parse_value(1)
  skip()
  if at <= string.len(text) then
    refuse("more than one value")
  end
  return value
end

-- The numbers of a list that parse_json returned.
local function numbers(list)
  local found = {}
  if type(list) == "table" then
    for number in string.gmatch(list.numbers or "", "[^%s,]+") do
      found[#found + 1] = tonumber(number) or -1
    end
  end
  return found
end
