-- Single transfers: one POST each, with a key of its own.
-- Arguments: as count.lua wants them.

dofile(os.getenv("BENCH_WRK") .. "/count.lua")

function init(args)
   begin(args)
   wrk.method = "POST"
   wrk.headers["Content-Type"] = "application/json"
   wrk.headers["Authorization"] = "Bearer " .. os.getenv("BENCH_API_KEY")
end

function request()
   local key, data = transfer()
   wrk.headers["Idempotency-Key"] = key
   return wrk.format(nil, nil, nil, data)
end
