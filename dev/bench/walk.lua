-- wrk script: requests the targets of a file in order ("TARGET" or "TARGET CLIENT", an address behind a proxy), and prints the result of the run as one line of JSON.
-- wrk ... URL -- FILE. Times are in microseconds. "windows" counts the requests that were sent in each second.
local ffi = require("ffi")
ffi.cdef("typedef struct { long seconds, nanoseconds; } timespec; int clock_gettime(int clock, timespec *now);")
local MONOTONIC = 1
local THREAD_OFFSET = 7919 -- of the first target of each thread
local now = ffi.new("timespec")
local threads = {}
local requests, position, started_at = {}, 0, nil
windows = {} -- global, because done() can read only globals of a thread

local function clock()
  ffi.C.clock_gettime(MONOTONIC, now)
  return tonumber(now.seconds) + tonumber(now.nanoseconds) / 1e9
end

function setup(thread)
  thread:set("number", #threads)
  table.insert(threads, thread)
end

function init(arguments)
  local known = {}
  wrk.headers["Host"] = "127.0.0.1"
  for line in io.lines(arguments[1]) do
    local target, client = line:match("^(%S+) ?(%S*)$")
    wrk.headers["X-Forwarded-For"] = client ~= "" and client or nil
    known[line] = known[line] or wrk.format("GET", target)
    requests[#requests + 1] = known[line]
  end
  position = (number or 0) * THREAD_OFFSET
end

function request()
  local at = clock()
  started_at = started_at or at
  local window = math.floor(at - started_at) + 1
  windows[window] = (windows[window] or 0) + 1
  position = position % #requests + 1
  return requests[position]
end

function done(summary, latency)
  local errors, counts = 0, {}
  for _, count in pairs(summary.errors) do errors = errors + count end
  for _, thread in ipairs(threads) do
    for window, count in pairs(thread:get("windows")) do counts[window] = (counts[window] or 0) + count end
  end
  for window = 1, table.maxn(counts) do counts[window] = counts[window] or 0 end
  io.write(string.format(
    '\n{"requests": %d, "bytes": %d, "duration": %d, "errors": %d, "p50": %d, "p99": %d, "windows": [%s]}\n',
    summary.requests, summary.bytes, summary.duration, errors,
    latency:percentile(50), latency:percentile(99), table.concat(counts, ", ")
  ))
end
