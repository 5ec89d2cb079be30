-- What load.py gives and reads.
--
-- Given: the method, content type and the body's file of the requests, each empty for a plain GET, and perhaps the seconds after
-- which the steady state begins. Read: one line of JSON after wrk's prose.
--
-- With few requests per second those in progress at the end, and a begin at which all connections start at once, distort what wrk
-- reports. In the steady state a rate is the number of answers between the first and the last one, by the time between these.
-- Looking at each answer costs wrk time, so that is for slow applications only.
local ffi = require("ffi")
ffi.cdef [[
    struct bench_time { long seconds, nanoseconds; };
    int clock_gettime(int clock, struct bench_time *now);
]]
local CLOCK_MONOTONIC = 1
local time = ffi.new("struct bench_time")

local function now()
    ffi.C.clock_gettime(CLOCK_MONOTONIC, time)
    return tonumber(time.seconds) + tonumber(time.nanoseconds) / 1e9
end

local function read(path)
    local file = assert(io.open(path, "rb"))
    local text = file:read("*a")
    file:close()
    return text
end

-- Each thread of wrk has an interpreter of its own, and done() runs in yet another.
local threads = {}

setup = function(thread)
    table.insert(threads, thread)
end

local function count_from(begin)
    answers, first, last = -1, 0, 0
    response = function()
        local time = now()
        if time >= begin then
            if answers < 0 then
                first = time
            end
            answers, last = answers + 1, time
        end
    end
end

init = function(arguments)
    local method, content_type, body, steady = unpack(arguments)
    if body and body ~= "" then
        wrk.method, wrk.headers["Content-Type"], wrk.body = method, content_type, read(body)
    end
    if steady and steady ~= "" then
        count_from(now() + tonumber(steady))
    end
end

local function steady_rate()
    local rate = 0
    for _, thread in ipairs(threads) do
        local answers, first, last = thread:get("answers"), thread:get("first"), thread:get("last")
        if answers and answers > 0 and last > first then
            rate = rate + answers / (last - first)
        end
    end
    return rate
end

done = function(summary, latency, requests)
    local e = summary.errors
    io.write(string.format('BENCH {"requests": %d, "us": %d, "bytes": %d, "p50": %d, "p90": %d, "p99": %d, "p999": %d, ' ..
        '"max": %d, "connect": %d, "read": %d, "write": %d, "status": %d, "timeout": %d, "steady": %f}\n',
        summary.requests, summary.duration, summary.bytes, latency:percentile(50), latency:percentile(90),
        latency:percentile(99), latency:percentile(99.9), latency.max, e.connect, e.read, e.write, e.status, e.timeout,
        steady_rate()))
end
