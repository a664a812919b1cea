-- wrk -s get.lua URL -- FIRST LAST: GET /schemas/ids/{id}, one id after the other, from FIRST to LAST and around.
local here = debug.getinfo(1, "S").source:match("^@(.*/)") or "./"
dofile(here .. "numbers.lua")

local requests, at = {}, 0

function init(arguments)
  local first, last = tonumber(arguments[1]), tonumber(arguments[2])
  for id = first, last do requests[#requests + 1] = wrk.format("GET", "/schemas/ids/" .. id) end
  -- The threads do not ask for the same at the same time.
  at = math.floor(#requests * thread_number / 2)
end

function request()
  at = at % #requests + 1
  return requests[at]
end
