-- Batches of 100 transfers, each item with a key of its own.
-- Arguments: as count.lua wants them.

dofile(os.getenv("BENCH_WRK") .. "/count.lua")

local ITEMS = 100

function init(args)
   begin(args)
   wrk.method = "POST"
   wrk.headers["Content-Type"] = "application/json"
   wrk.headers["Authorization"] = "Bearer " .. os.getenv("BENCH_API_KEY")
end

function request()
   local items = {}
   for place = 1, ITEMS do
      local key, data = transfer()
      items[place] = string.format('{"idempotency_key":"%s","type":"transfer","data":%s}', key, data)
   end
   return wrk.format(nil, nil, nil, '{"items":[' .. table.concat(items, ",") .. "]}")
end
