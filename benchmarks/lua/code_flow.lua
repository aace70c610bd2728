-- Signed-in people in turn: an authorization request, the code from its redirect, the code at the token endpoint.
dofile("answers.lua")
local data, turn, codes

function init(arguments)
  data = dofile(arguments[1])
  turn, codes = 0, {}
end

function request()
  local ready = table.remove(codes)
  if ready then
    local person = data.people[ready.person]
    local body = person.redeem .. "&code=" .. ready.code
    return person.head .. "Content-Length: " .. #body .. "\r\n\r\n" .. body
  end
  turn = turn % #data.people + 1
  return data.people[turn].authorize
end

function response(status, headers, body)
  if status == 303 or status == 302 then
    local location = headers["Location"] or headers["location"] or ""
    local code, state = location:match("[?&]code=([^&]+)"), location:match("[?&]state=([^&]+)")
    if judge(code and state, status, headers, body) then
      codes[#codes + 1] = { code = code, person = tonumber(state) }
    end
  elseif judge(status == 200 and body:find('"access_token"', 1, true), status, headers, body) then
    finished = finished + 1
  end
end
