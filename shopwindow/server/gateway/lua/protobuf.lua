-- Reads a protobuf message without copying it. A "buffer" is Envoy's: its positions count from 0.

local MOST_FIELDS = 1000

-- The varint in a string from a position on, and the position behind it. nil: there is none. From 2^53 on it is rounded.
local function varint(bytes, at)
  local value, factor = 0, 1
  for place = at, at + 9 do
    local byte = string.byte(bytes, place)
    if not byte then
      return nil
    end
    value = value + byte % 128 * factor
    if byte < 128 then
      return value, place + 1
    end
    factor = factor * 128
  end
  return nil
end

-- Calls visit(field, from, to) for each field that has a length, and visit(field, nil, value) for each varint, in the
-- part of the buffer from `from` up to but not including `to`. Raises an error with a table if that part is no message.
local function each_field(buffer, from, to, visit)
  local at, fields = from, 0
  while at < to do
    local head = buffer:getBytes(at, math.min(20, to - at))
    local tag, behind = varint(head, 1)
    local kind = tag and tag % 8
    fields = fields + 1
    if fields > MOST_FIELDS then
      error({"the message: has more than " .. MOST_FIELDS .. " fields"})
    elseif kind == 0 then
      local value
      value, behind = varint(head, behind)
      if not value then
        error({"the message: a number in it has no end"})
      end
      visit((tag - kind) / 8, nil, value)
      at = at + behind - 1
    elseif kind == 1 then
      at = at + behind + 7
    elseif kind == 2 then
      local length
      length, behind = varint(head, behind)
      if not length or at + behind - 1 + length > to then
        error({"the message: a field in it is longer than the message"})
      end
      local start = at + behind - 1
      at = start + length
      visit((tag - kind) / 8, start, at)
    elseif kind == 5 then
      at = at + behind + 3
    else
      error({"the message: it is no protobuf message"})
    end
  end
  if at > to then
    error({"the message: its last field has no end"})
  end
end
