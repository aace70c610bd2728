-- Each thread is one client with its own refresh tokens: the new token of a response is used later.
dofile("check_responses.lua")
local mine, tokens, first, last

function init(arguments)
  mine = dofile(arguments[1]).clients[number]
  tokens, first, last = mine.refresh_tokens, 1, #mine.refresh_tokens
end

function request()
  local body = "grant_type=refresh_token&refresh_token=" .. (tokens[first] or "all-sessions-are-lost")
  tokens[first], first = nil, math.min(first, last) + 1
  return mine.head .. "Content-Length: " .. #body .. "\r\n\r\n" .. body
end

function response(status, headers, body)
  local new = body:match('"refresh_token"%s*:%s*"([^"]+)"')
  if check(status == 200 and new and body:find('"access_token"', 1, true), status, headers, body) then
    last = last + 1
    tokens[last] = new
    finished = finished + 1
  end
end
