-- For signed-in users in turn: the authorization request, then the code from its redirect to the token endpoint.
dofile("check_responses.lua")
local data, turn, codes

function init(arguments)
  data = dofile(arguments[1])
  turn, codes = 0, {}
end

function request()
  local ready = table.remove(codes)
  if ready then
    local user = data.users[ready.user]
    local body = user.redeem .. "&code=" .. ready.code
    return user.head .. "Content-Length: " .. #body .. "\r\n\r\n" .. body
  end
  turn = turn % #data.users + 1
  return data.users[turn].authorize
end

function response(status, headers, body)
  if status == 303 or status == 302 then
    local location = headers["Location"] or headers["location"] or ""
    local code, state = location:match("[?&]code=([^&]+)"), location:match("[?&]state=([^&]+)")
    if check(code and state, status, headers, body) then
      codes[#codes + 1] = { code = code, user = tonumber(state) }
    end
  elseif check(status == 200 and body:find('"access_token"', 1, true), status, headers, body) then
    finished = finished + 1
  end
end
