-- Refuses requests that Triton 2.51 itself does not survive, or that fail the other requests of their batch:
--
-- - Texts whose lengths do not add up to the length of their tensor, and shapes of 2^31 values and more.
-- - The output parameter `classification`, which ends Triton if the output is of texts.
-- - Names that are long or have odd characters, because Triton's errors quote them.
-- - Compressed messages that the gateway has not decompressed, and more than one message in a call.

local MOST_NUMBERS, MOST_TEXTS, MOST_SIZES, LONGEST_NAME = 2 ^ 31 - 1, 65536, 16, 255
local LONGEST_PATH = 1024
local MOST_TENSORS = 64 -- of each kind; Triton lists the names of all of them in an error
local REQUEST = "the request"
local NAMES = {"model_name", "model_version", "id"}
local NO_CLASSES = "classification: no output of this server has classes, so it is refused"

-- The number of values of a shape. Raises an error that names the input.
local function count_values(shape, input)
  local count = 1
  if #shape > MOST_SIZES then
    error({input .. ".shape: more than " .. MOST_SIZES .. " sizes"})
  elseif shape[1] == 0 then -- Triton would take the second size for the number of rows
    error({input .. ".shape: the first size is 0, so there are no rows"})
  end
  for _, size in ipairs(shape) do
    if size < 0 or size > MOST_NUMBERS or size % 1 ~= 0 then
      error({input .. ".shape: a size is not from 0 to " .. MOST_NUMBERS})
    end
    count = count * size
  end
  if count > MOST_NUMBERS then
    error({input .. ".shape: more than " .. MOST_NUMBERS .. " values"})
  end
  return count
end

-- Checks that a part of a buffer holds this many texts, each behind its length in four bytes.
local function check_texts(buffer, from, to, count, input)
  if count > MOST_TEXTS then
    error({input .. ".shape: more than " .. MOST_TEXTS .. " texts"})
  end
  local at = from
  for number = 1, count do
    if at + 4 > to then
      error({input .. ": has " .. number - 1 .. " texts, and its shape says " .. count})
    end
    local a, b, c, d = string.byte(buffer:getBytes(at, 4), 1, 4)
    local length = a + b * 2 ^ 8 + c * 2 ^ 16 + d * 2 ^ 24
    at = at + 4 + length
    if at > to then
      error({input .. ": text " .. number - 1 .. " has " .. length .. " bytes by its length, and there are fewer"})
    end
  end
  if at < to then
    error({input .. ": has " .. to - at .. " bytes behind its last text"})
  end
end

-- Checks a name. Triton quotes it in its errors.
local function check_name(name, what)
  if type(name) == "string" and (string.len(name) > LONGEST_NAME or string.find(name, "[^\32-\126]")) then
    error({what .. ": must have at most " .. LONGEST_NAME .. " printable ASCII characters"})
  end
end

-- The name in a part of a buffer.
local function read_name(buffer, from, to, what)
  local name = buffer:getBytes(from, math.min(LONGEST_NAME + 1, to - from))
  check_name(name, what)
  return name
end

-- The name of a parameter, from its entry in the map. What a parameter of a tensor says is checked like a name; the
-- parameters of the request, such as a filter, are for the models.
local function read_parameter(buffer, from, to, what)
  local name = ""
  each_field(buffer, from, to, function(field, start, stop)
    if field == 1 and start then
      name = read_name(buffer, start, stop, what .. ".parameters")
    elseif field == 2 and start and what ~= REQUEST then
      each_field(buffer, start, stop, function(kind, first, last)
        if kind == 3 and first then
          read_name(buffer, first, last, what .. ".parameters")
        end
      end)
    end
  end)
  return name
end

-- Reads an InferInputTensor.
local function read_tensor(buffer, from, to, input)
  local tensor = {shape = {}}
  each_field(buffer, from, to, function(field, start, stop)
    if field == 1 and start then
      read_name(buffer, start, stop, input .. ".name")
    elseif field == 2 and start then
      tensor.datatype = read_name(buffer, start, stop, input .. ".datatype")
    elseif field == 3 and not start then
      table.insert(tensor.shape, stop)
    elseif field == 3 then
      local bytes, at, size = buffer:getBytes(start, math.min(10 * MOST_SIZES + 10, stop - start)), 1, nil
      while at <= string.len(bytes) do
        size, at = varint(bytes, at)
        if not size then
          error({"the message: a shape in it has no end"})
        end
        table.insert(tensor.shape, size)
      end
    elseif field == 4 and start and read_parameter(buffer, start, stop, input) == "shared_memory_region" then
      tensor.elsewhere = true
    end
  end)
  return tensor
end

-- Reads an InferRequestedOutputTensor.
local function check_output(buffer, from, to, output)
  each_field(buffer, from, to, function(field, start, stop)
    if field == 1 and start then
      read_name(buffer, start, stop, output .. ".name")
    elseif field == 2 and start and read_parameter(buffer, start, stop, output) == "classification" then
      error({NO_CLASSES})
    end
  end)
end

local function check_number(number, what)
  if number > MOST_TENSORS then
    error({what .. ": more than " .. MOST_TENSORS})
  end
end

-- Checks a ModelInferRequest in a part of a buffer.
local function check_message(buffer, from, to)
  local tensors, contents, outputs = {}, {}, 0
  each_field(buffer, from, to, function(field, start, stop)
    if not start then
      return
    elseif field <= 3 then
      read_name(buffer, start, stop, NAMES[field])
    elseif field == 4 then
      read_parameter(buffer, start, stop, REQUEST)
    elseif field == 5 then
      table.insert(tensors, read_tensor(buffer, start, stop, "inputs[" .. #tensors .. "]"))
    elseif field == 6 then
      check_output(buffer, start, stop, "outputs[" .. outputs .. "]")
      outputs = outputs + 1
    elseif field == 7 then
      table.insert(contents, {start, stop})
    end
    check_number(#tensors, "inputs")
    check_number(outputs, "outputs")
  end)
  local used = 0
  for place, tensor in ipairs(tensors) do
    local input = "inputs[" .. place - 1 .. "]"
    local count = count_values(tensor.shape, input)
    if not tensor.elsewhere then
      used = used + 1
      local content = contents[used]
      if content and tensor.datatype == "BYTES" then
        check_texts(buffer, content[1], content[2], count, input)
      end
    end
  end
end

-- Checks the message of another open method. It has nothing but names.
local function check_names(buffer, from, to)
  each_field(buffer, from, to, function(field, start, stop)
    if start and field <= 2 then
      read_name(buffer, start, stop, NAMES[field])
    end
  end)
end

-- The path without its query, which Envoy's routes do not compare either.
local function path_of(headers)
  return string.match(headers:get(":path"), "^[^?]*")
end

local function check_grpc(headers, buffer)
  local encoding = headers:get("grpc-encoding")
  local length = buffer and buffer:length() or 0
  if encoding == "gzip" and buffer then -- see unframe.lua
    local a, b, c, d = math.floor(length / 2 ^ 24), math.floor(length / 2 ^ 16), math.floor(length / 2 ^ 8), length
    buffer:setBytes(string.char(0, a % 256, b % 256, c % 256, d % 256) .. buffer:getBytes(0, length))
    headers:remove("grpc-encoding")
    length = length + 5
  elseif encoding and encoding ~= "identity" then
    error({"grpc-encoding: must be gzip or identity", "12"})
  end
  if length < 5 then
    error({"the message: it is missing"})
  end
  local flag, a, b, c, d = string.byte(buffer:getBytes(0, 5), 1, 5)
  if flag ~= 0 then
    error({"the message: it is compressed, but the header grpc-encoding does not say how"})
  elseif a * 2 ^ 24 + b * 2 ^ 16 + c * 2 ^ 8 + d ~= length - 5 then
    error({"the message: its length is wrong, or there is more than one"})
  end
  local method = string.match(path_of(headers), "[^/]*$")
  if method == "ModelInfer" then
    check_message(buffer, 5, length)
  elseif string.find(method, "^Model") or method == "Check" then
    check_names(buffer, 5, length)
  end
end

local function table_or_none(value)
  return type(value) == "table" and value or {}
end

-- The parameters of an object of the JSON, whose names are checked.
local function parameters_of(object, what)
  if type(object) ~= "table" then
    error({what .. ": it is no object"})
  end
  local parameters = table_or_none(object.parameters)
  for name, value in pairs(parameters) do
    check_name(name, what .. ".parameters")
    if what ~= REQUEST then
      check_name(value, what .. ".parameters")
    end
  end
  return parameters
end

local function check_http(headers, buffer)
  if string.len(headers:get(":path")) > LONGEST_PATH then
    error({"the path: longer than " .. LONGEST_PATH .. " characters"})
  end
  local encoding = headers:get("content-encoding")
  if encoding and encoding ~= "identity" then
    error({"content-encoding: must be gzip or identity", "415"})
  elseif not buffer or not string.find(path_of(headers), "/infer/?$") then
    return
  end
  local length = buffer:length()
  local json = headers:get("inference-header-content-length")
  local at = json and (string.find(json, "^%d+$") and tonumber(json) or length + 1) or length
  if at > length then
    error({"inference-header-content-length: must be a number of bytes, at most the " .. length .. " of the body"})
  end
  local request = parse_json(buffer:getBytes(0, at))
  if type(request) ~= "table" then
    error({"the JSON of the request: it is no object"})
  end
  check_name(request.id, "id")
  parameters_of(request, REQUEST)
  check_number(#table_or_none(request.outputs), "outputs")
  check_number(#table_or_none(request.inputs), "inputs")
  for place, output in ipairs(table_or_none(request.outputs)) do
    local what = "outputs[" .. place - 1 .. "]"
    if parameters_of(output, what).classification ~= nil then
      error({NO_CLASSES})
    end
    check_name(output.name, what .. ".name")
  end
  for place, tensor in ipairs(table_or_none(request.inputs)) do
    local input = "inputs[" .. place - 1 .. "]"
    local size = parameters_of(tensor, input).binary_data_size
    check_name(tensor.name, input .. ".name")
    check_name(tensor.datatype, input .. ".datatype")
    local count = count_values(numbers(tensor.shape), input)
    if size ~= nil then
      if type(size) ~= "number" or size < 0 or size % 1 ~= 0 or at + size > length then
        error({input .. ".parameters.binary_data_size: must be a number of bytes that the body has behind its JSON"})
      elseif tensor.datatype == "BYTES" then
        check_texts(buffer, at, at + size, count, input)
      end
      at = at + size
    end
  end
end

-- What is wrong with the request, and its status if that is not that of a bad request; nil: nothing.
local function fault_of(headers, buffer)
  local fine, fault = pcall(IS_GRPC and check_grpc or check_http, headers, buffer)
  if fine then
    return nil
  elseif type(fault) == "table" then
    return fault[1], fault[2]
  end
  return "the request: it cannot be read"
end

function envoy_on_request(handle)
  local buffer = handle:body() -- waits for the whole body
  local fault, status = fault_of(handle:headers(), buffer)
  if fault and IS_GRPC then
    handle:respond({[":status"] = "200", ["content-type"] = "application/grpc", ["grpc-status"] = status or "3"}, fault)
  elseif fault then
    local headers = {[":status"] = status or "400", ["content-type"] = "application/json"}
    handle:respond(headers, '{"error":"' .. fault .. '"}')
  end
end
