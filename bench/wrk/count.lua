-- Shared by both scripts: wallets to draw from, a key never given twice, the sum at the end.
-- Arguments: a file of wallet ids, one a line; a prefix of the keys of this run; the seed.

local threads = 0

function setup(thread)
   thread:set("number", threads)
   threads = threads + 1
end

function begin(args)
   wallets = {}
   for line in io.lines(args[1]) do
      wallets[#wallets + 1] = line
   end
   prefix = string.format("%s%d-", args[2], number)
   math.randomseed(tonumber(args[3]) + number)
   made = 0
end

-- A key of 20 characters and a body, as JSON.
function transfer()
   made = made + 1
   local source = math.random(#wallets)
   local destination = math.random(#wallets - 1)
   if destination >= source then
      destination = destination + 1
   end
   local key = prefix .. string.format("%0" .. (20 - #prefix) .. "d", made)
   local data = string.format(
      '{"source_wallet_id":"%s","destination_wallet_id":"%s","amount":%d,"currency":"KES","reference":"rent %015d"}',
      wallets[source], wallets[destination], math.random(100), made)
   return key, data
end

function done(summary, latency, requests)
   local errors = summary.errors
   io.write(string.format(
      '\n{"requests": %d, "duration_us": %d, "not_2xx": %d, "broken": %d}\n',
      summary.requests, summary.duration, errors.status,
      errors.connect + errors.read + errors.write + errors.timeout))
end
