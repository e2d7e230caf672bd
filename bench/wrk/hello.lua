-- GET, and the sum at the end.

dofile(os.getenv("BENCH_WRK") .. "/count.lua")
