-- How numbers and spans of time look in reasons.

local show = {}

-- 412, 0.75
---@param n number
---@return string
function show.number(n)
  if n == math.floor(n) and math.abs(n) < 1e15 then
    return string.format("%d", n)
  end
  return string.format("%.4g", n)
end

-- 45s, 5m, 1h30m
---@param seconds number
---@return string
function show.span(seconds)
  local s = math.floor(seconds + 0.5)
  if s < 60 then
    if seconds > 0 and seconds < 10 and seconds ~= math.floor(seconds) then
      return string.format("%.2gs", seconds)
    end
    return s .. "s"
  end
  local text = ""
  local h, m = math.floor(s / 3600), math.floor(s / 60) % 60
  if h > 0 then
    text = h .. "h"
  end
  if m > 0 then
    text = text .. m .. "m"
  end
  if h == 0 and s % 60 > 0 then
    text = text .. s % 60 .. "s"
  end
  return text
end

return show
