-- Counts responses that are not "hello\n". The argument is how many requests are sent at once.

local threads = {}

function setup(thread)
  table.insert(threads, thread)
end

function init(args)
  seen, wrong = 0, 0
  local requests = {}
  for i = 1, tonumber(args[1]) do
    requests[i] = wrk.format()
  end
  burst = table.concat(requests)
end

function request()
  return burst
end

function response(status, headers, body)
  seen = seen + 1
  if status ~= 200 or body ~= "hello\n" then
    wrong = wrong + 1
  end
end

function done(summary)
  local total, bad = 0, 0
  for _, thread in ipairs(threads) do
    total = total + thread:get("seen")
    bad = bad + thread:get("wrong")
  end
  io.write(string.format("\nseen: %d\nwrong: %d\n", total, bad))
  for name, count in pairs(summary.errors) do
    io.write(string.format("%s: %d\n", name, count))
  end
end
