-- wrk -s wrk.lua URL -- PATHS [HEADER]: asks for each path of a file in turn; ends with one line of JSON.
local requests, at = {}, 0

function init(args)
  local headers = {}
  if args[2] then headers["Accept"] = args[2] end
  for path in io.lines(args[1]) do
    requests[#requests + 1] = wrk.format("GET", path, headers)
  end
end

function request()
  at = at % #requests + 1
  return requests[at]
end

function done(summary, latency)
  local e = summary.errors
  io.write(string.format(
    '{"requests":%d,"us":%d,"bytes":%d,"p50_us":%d,"p95_us":%d,"p99_us":%d,"status":%d,"broken":%d}\n',
    summary.requests, summary.duration, summary.bytes, latency:percentile(50), latency:percentile(95),
    latency:percentile(99), e.status, e.connect + e.read + e.write + e.timeout))
end
