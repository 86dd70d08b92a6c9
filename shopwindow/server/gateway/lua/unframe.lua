-- Takes a compressed message out of gRPC's frame, so that the next filter can decompress it. `requests.lua` makes a frame
-- around what comes out. This runs only on calls with the header `grpc-encoding: gzip`.

function envoy_on_request(handle)
  local buffer, headers = handle:body(), handle:headers()
  local length = buffer and buffer:length() or 0
  if length > MOST_COMPRESSED then
    local text = "compressed message too large: it has " .. length .. " bytes, and " .. MOST_COMPRESSED
    text = text .. " are allowed; send it without compression, from which photos do not gain"
    handle:respond({[":status"] = "200", ["content-type"] = "application/grpc", ["grpc-status"] = "8"}, text)
  elseif length > 5 and string.byte(buffer:getBytes(0, 1)) == 1 then
    buffer:setBytes(buffer:getBytes(5, length - 5))
    headers:replace("content-encoding", "gzip")
  else
    headers:remove("grpc-encoding") -- the message itself is not compressed
  end
end
