-- wrk -t 1 -s register.lua URL -- TEMPLATE FIRST LAST SUBJECTS: registers schemas number FIRST to LAST, one per request. The
-- number replaces each @ of the file TEMPLATE (the body) and chooses the subject: one for each number, or with SUBJECTS not
-- 0 so many in turn. After LAST it asks for nothing that changes anything, until wrk's time is over.
local here = debug.getinfo(1, "S").source:match("^@(.*/)") or "./"
dofile(here .. "numbers.lua")

number = 0
local template, last, subjects, idle

function init(arguments)
  local file = assert(io.open(arguments[1]))
  template = file:read("*a")
  file:close()
  -- wrk calls request() once before all, and does not send what it gets.
  number, last, subjects = tonumber(arguments[2]) - 2, tonumber(arguments[3]), tonumber(arguments[4])
  idle = wrk.format("GET", "/schemas/types")
end

function request()
  if number >= last then
    number = number + 1
    return idle
  end
  number = number + 1
  local subject = subjects == 0 and "bench-" .. number or "versions-" .. number % subjects
  return wrk.format("POST", "/subjects/" .. subject .. "-value/versions", nil, (template:gsub("@", number)))
end
