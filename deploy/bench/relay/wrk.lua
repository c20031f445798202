-- Arguments after `--`: METHOD BODY_BYTES. Without a `request` function wrk sends the same prepared bytes each time.
function init(args)
  if args[1] then
    wrk.method = args[1]
    wrk.body = string.rep("x", tonumber(args[2]))
  end
end

function done(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format(
    '{"requests":%d,"bytes":%d,"duration_us":%d,"failures":%d,"p50_us":%d,"p99_us":%d}\n',
    summary.requests, summary.bytes, summary.duration,
    errors.connect + errors.read + errors.write + errors.timeout + errors.status,
    latency:percentile(50), latency:percentile(99)))
end
