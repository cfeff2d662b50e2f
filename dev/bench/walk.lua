-- Prints the result of a wrk run as one line of JSON; times in microseconds.
function done(summary, latency)
    local errors = 0
    for _, count in pairs(summary.errors) do errors = errors + count end
    io.write(string.format('\n{"requests": %d, "bytes": %d, "duration": %d, "errors": %d, "p50": %d, "p99": %d}\n',
        summary.requests, summary.bytes, summary.duration, errors, latency:percentile(50), latency:percentile(99)))
end
