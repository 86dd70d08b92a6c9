-- Corrects replies:
--
-- - gRPC has the status RESOURCE_EXHAUSTED, 8, for a message that is too large. Envoy would say UNKNOWN.
-- - Some of Triton's errors name a region of shared memory, and who knows its name could write into the memory of a
--   model: see `RuntimeFolder.regions`. The name is hidden.
-- - Triton lists all names of a request in an error. Errors are cut to 2,000 characters.
-- - To JSON that it cannot read, Triton says 500, as if that were the server's fault. It becomes 400.

local UNREADABLE = {
  '{"error":"failed to parse the request JSON buffer',
  '{"error":"failed to get request params',
  '{"error":"Unable to parse ',
  '{"error":"Unable to set ',
  '{"error":"Expected JSON object for keyword',
}

local function hide(text)
  return (string.gsub(text, "shopwindow%-%d+%-%x+%-%x+[%w_%-]*", "(a region of shared memory)"))
end

-- The text of an error, whose other characters than printable ASCII are written as %XX.
local function shorten(text)
  if string.len(text) <= 2000 then
    return text
  end
  local cut = string.gsub(string.sub(text, 1, 1996), "%%%x?$", "")
  while string.find(cut, "%%[89A-Fa-f]%x$") do -- not in the middle of a character
    cut = string.sub(cut, 1, -4)
  end
  return cut .. " ..."
end

-- The same for an error in JSON, which is not cut in the middle of an escape.
local function shorten_json(text)
  if string.len(text) <= 2000 then
    return text
  end
  return string.gsub(string.sub(text, 1, 1990), "\\+u?%x?%x?%x?$", "") .. ' ..."}'
end

function envoy_on_response(handle)
  local headers = handle:headers()
  local message = headers:get("grpc-message")
  if message then
    headers:replace("grpc-message", shorten(hide(message)))
    if string.sub(message, 1, string.len(TOO_LARGE)) == TOO_LARGE then
      headers:replace("grpc-status", "8")
    end
  elseif tonumber(headers:get(":status")) >= 400 then
    local body = handle:body()
    if body then
      local text = body:getBytes(0, body:length())
      body:setBytes(shorten_json(hide(text)))
      for _, beginning in ipairs(UNREADABLE) do
        if string.sub(text, 1, string.len(beginning)) == beginning then
          handle:headers():replace(":status", "400")
        end
      end
    end
  end
end
