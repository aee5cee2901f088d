-- How much a worker does per second, learned from how the work that is left becomes less.
--
-- A sample is what became less between two readings, over the seconds that workers worked meanwhile. It is
-- closed once a minute has passed and something was done, so coarse work (a few long jobs) gives few but
-- right samples. Work that is added spoils a sample, which is then thrown away. The rate is all that was
-- done over all the seconds of the last samples: their mean or median would count a lucky minute as much as
-- a long dull one. The fastest and the slowest are left out, so one odd sample does not move it far.
--
-- Workers that have just come up work, but have not ended a piece yet. A sample stays open while much of its
-- work is theirs; else workers would seem the slower the more have just been launched, and ever more would be.

local rate = {}

local samples = 15 -- that are kept
local least = 60 -- seconds of a sample; at least those of a piece, so that each worker ends one or so in it
local batches = 20 -- of young workers that are told apart in the time of a piece
local unripeMax = 0.2 -- of a sample's work may be that of workers that can't have ended a piece yet

---@class lib.Learned what is kept in the policy's memory
---@field left number? at the beginning of the sample
---@field at number unix seconds of that reading
---@field work number seconds that workers have worked since
---@field tick number unix seconds of the last evaluation
---@field workers number that worked then
---@field young number[][] {unix seconds, number} of workers that have come up too lately to have ended a piece, oldest first
---@field samples number[][] {done, seconds worked} of the last samples, oldest first

-- Counts the work since the last evaluation. Gives how much of all work was done by workers that can't have
-- ended a piece yet.
local function count(kept, now, workers, piece)
  kept.work = (kept.work or 0) + (kept.workers or 0) * math.max(0, now - (kept.tick or now))
  local young, more = kept.young or {}, workers - (kept.workers or workers)
  kept.young, kept.tick, kept.workers = young, now, workers
  while young[1] and now - young[1][1] >= piece do
    table.remove(young, 1)
  end
  local last = young[#young]
  if more > 0 and last and now - last[1] < piece / batches then
    last[2] = last[2] + more
  elseif more > 0 and piece > 0 then
    table.insert(young, { now, more })
  end
  while more < 0 and #young > 0 do -- the newest end first
    last = young[#young]
    local gone = math.min(-more, last[2])
    last[2], more = last[2] - gone, more + gone
    if last[2] == 0 then
      table.remove(young)
    end
  end
  local unripe = 0
  for _, batch in ipairs(young) do
    unripe = unripe + batch[2] * (now - batch[1])
  end
  return unripe
end

-- Takes what is known now.
---@param kept lib.Learned an empty table at first, changed in place
---@param now number
---@param workers number that work
---@param left number? work left; nil when not known
---@param at number? unix seconds of that reading
---@param piece number? seconds that a worker works on one piece, if that is known
function rate.learn(kept, now, workers, left, at, piece)
  kept.samples = kept.samples or {}
  local unripe = count(kept, now, workers, piece or 0)
  if left == nil or kept.at and at <= kept.at then
    return
  end
  local since = workers * (now - at) -- worked after the reading: of the next sample
  local done, work = (kept.left or left) - left, kept.work - since
  local ripe = at - (kept.at or at) >= math.max(least, piece or 0) and work > 0 and unripe <= work * unripeMax
  if kept.left == nil or done < 0 then
    kept.left, kept.at, kept.work = left, at, since
  elseif done > 0 and ripe then
    table.insert(kept.samples, { done, work })
    if #kept.samples > samples then
      table.remove(kept.samples, 1)
    end
    kept.left, kept.at, kept.work = left, at, since
  end
end

-- Work that a worker does per second, by the samples; nil without any.
---@param kept lib.Learned
---@return number? rate, integer samples
function rate.learned(kept)
  local sorted = {}
  for i, sample in ipairs(kept.samples or {}) do
    sorted[i] = sample
  end
  table.sort(sorted, function(a, b)
    return a[1] * b[2] < b[1] * a[2]
  end)
  local n = #sorted
  if n == 0 then
    return nil, 0
  end
  local odd = n >= 3 and 1 or 0
  local done, work = 0, 0
  for i = 1 + odd, n - odd do
    done, work = done + sorted[i][1], work + sorted[i][2]
  end
  return done / work, n
end

return rate
