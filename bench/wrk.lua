-- What load.py gives and reads: the method, content type and the body's file of the requests, if they are no plain GET; and one
-- line of JSON after wrk's prose.
init = function(arguments)
    if #arguments > 0 then
        local file = assert(io.open(arguments[3], "rb"))
        wrk.method = arguments[1]
        wrk.headers["Content-Type"] = arguments[2]
        wrk.body = file:read("*a")
        file:close()
    end
end

done = function(summary, latency, requests)
    local e = summary.errors
    io.write(string.format('BENCH {"requests": %d, "us": %d, "bytes": %d, "p50": %d, "p90": %d, "p99": %d, "p999": %d, ' ..
        '"max": %d, "connect": %d, "read": %d, "write": %d, "status": %d, "timeout": %d}\n',
        summary.requests, summary.duration, summary.bytes, latency:percentile(50), latency:percentile(90),
        latency:percentile(99), latency:percentile(99.9), latency.max, e.connect, e.read, e.write, e.status, e.timeout))
end
