-- Checks every response and prints the result; loaded by each script. Wrong responses are counted, the first is stored.
wrong, first_wrong, finished = 0, "", 0

function check(good, status, headers, body)
  if good then return true end
  wrong = wrong + 1
  if first_wrong == "" then first_wrong = status .. " " .. (headers["Location"] or "") .. " " .. body:sub(1, 400) end
  return false
end

local threads = {}

function setup(thread)
  threads[#threads + 1] = thread
  thread:set("number", #threads)
end

local function quoted(text)
  return '"' .. text:gsub('[%c"\\]', function(c) return string.format("\\u%04x", c:byte()) end) .. '"'
end

function done(summary, latency)
  local all_wrong, all_finished, example = 0, 0, ""
  for _, thread in ipairs(threads) do
    all_wrong, all_finished = all_wrong + thread:get("wrong"), all_finished + thread:get("finished")
    if example == "" then example = thread:get("first_wrong") end
  end
  local failed = summary.errors
  io.write(string.format(
    '\nRESULT {"seconds": %f, "finished": %d, "wrong": %d, "first_wrong": %s, "broken": %d, "p50_ms": %f, "p99_ms": %f}\n',
    summary.duration / 1e6, all_finished, all_wrong, quoted(example),
    failed.connect + failed.read + failed.write + failed.timeout,
    latency:percentile(50) / 1e3, latency:percentile(99) / 1e3
  ))
end
