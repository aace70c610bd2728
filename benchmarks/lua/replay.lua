-- Sends the requests of the data in turn; every response must have the status and match the pattern.
dofile("check_responses.lua")
local data, turn

function init(arguments)
  data = dofile(arguments[1])
  turn = 0
end

function request()
  turn = turn % #data.requests + 1
  return data.requests[turn]
end

function response(status, headers, body)
  if check(status == data.status and body:find(data.pattern), status, headers, body) then
    finished = finished + 1
  end
end
