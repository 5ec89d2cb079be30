-- What load.py reads: one line of JSON after wrk's prose.
done = function(summary, latency, requests)
    local e = summary.errors
    io.write(string.format('BENCH {"requests": %d, "us": %d, "bytes": %d, "p50": %d, "p90": %d, "p99": %d, "max": %d, ' ..
        '"connect": %d, "read": %d, "write": %d, "status": %d, "timeout": %d}\n',
        summary.requests, summary.duration, summary.bytes, latency:percentile(50), latency:percentile(90),
        latency:percentile(99), latency.max, e.connect, e.read, e.write, e.status, e.timeout))
end
