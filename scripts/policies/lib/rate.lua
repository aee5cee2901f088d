-- How much a worker does per second, learned from how the work that is left becomes less.
--
-- A sample is what became less between two readings, over the seconds that workers worked meanwhile. It is
-- closed once a minute has passed and something was done, so coarse work (a few long jobs) gives few but
-- right samples. Work that is added spoils a sample, which is then thrown away. The median of the last
-- samples is the rate: one odd sample does not move it far.

local rate = {}

local samples = 9 -- that are kept
local least = 60 -- seconds of a sample

---@class lib.Learned what is kept in the policy's memory
---@field left number? at the beginning of the sample
---@field at number unix seconds of that reading
---@field work number seconds that workers have worked since
---@field tick number unix seconds of the last evaluation
---@field workers number that worked then
---@field rates number[] the last samples, oldest first

-- Takes what is known now.
---@param kept lib.Learned an empty table at first, changed in place
---@param now number
---@param workers number that work
---@param left number? work left; nil when not known
---@param at number? unix seconds of that reading
function rate.learn(kept, now, workers, left, at)
  kept.rates = kept.rates or {}
  kept.work = (kept.work or 0) + (kept.workers or 0) * math.max(0, now - (kept.tick or now))
  kept.tick, kept.workers = now, workers
  if left == nil or kept.at and at <= kept.at then
    return
  end
  local since = workers * (now - at) -- worked after the reading: of the next sample
  local done, work = (kept.left or left) - left, kept.work - since
  if kept.left == nil or done < 0 then
    kept.left, kept.at, kept.work = left, at, since
  elseif done > 0 and at - kept.at >= least and work > 0 then
    table.insert(kept.rates, done / work)
    if #kept.rates > samples then
      table.remove(kept.rates, 1)
    end
    kept.left, kept.at, kept.work = left, at, since
  end
end

-- The median of the samples; nil without any.
---@param kept lib.Learned
---@return number? rate, integer samples
function rate.median(kept)
  local sorted = {}
  for i, r in ipairs(kept.rates or {}) do
    sorted[i] = r
  end
  table.sort(sorted)
  local n = #sorted
  if n == 0 then
    return nil, 0
  end
  return (sorted[math.floor((n + 1) / 2)] + sorted[math.floor(n / 2) + 1]) / 2, n
end

return rate
