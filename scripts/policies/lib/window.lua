-- The largest value within a span of time, in little memory.
--
-- This is what keeps pools from flapping: every evaluation says how few workers it would be content with,
-- and a pool shrinks to no fewer than the most that was said within the span. Time in which nobody
-- looked (the node was down, the policy is new) counts as content with nothing less than there was.
--
-- Values are kept for slots of a thirtieth of the span, so at most 32 numbers are kept whatever the tick;
-- a value may count for one slot longer than the span, never shorter.

local window = {}

local slots = 30 -- in a span
local patience = { 30, 120 } -- seconds without an evaluation that are no gap: least and most, a third of the span between

---@class lib.Kept what a window keeps in the policy's memory
---@field slots number[][] {slot, value}; slots ascend, values descend
---@field width number seconds of a slot
---@field last number unix seconds of the last evaluation
---@field every number seconds between evaluations; early ones between the regular ones hardly lower it

local function put(kept, slot, value)
  local list = kept.slots
  while #list > 0 and list[#list][2] <= value do
    table.remove(list)
  end
  if #list == 0 or list[#list][1] < slot then
    table.insert(list, { slot, value })
  end
end

-- Takes this evaluation's value and gives the largest within the span. `before` is the value for time in
-- which there was no evaluation. Kept is an empty table at first and changed in place.
---@param kept lib.Kept
---@param now number
---@param span number seconds, above 0
---@param value number
---@param before number
---@return number
function window.most(kept, now, span, value, before)
  local width = span / slots
  if kept.width ~= width or kept.last == nil or now < kept.last then
    kept.width, kept.slots, kept.last, kept.every = width, {}, nil, nil
  end
  local slot = math.floor(now / width)
  local gap = kept.last and now - kept.last
  local patient = math.min(math.max(patience[1], span / 3), patience[2])
  if gap == nil or gap > math.max(patient, 3 * (kept.every or 0)) then
    put(kept, slot, before)
  end
  put(kept, slot, value)
  while kept.slots[1][1] < slot - slots do
    table.remove(kept.slots, 1)
  end
  kept.every, kept.last = math.max(gap or 0, 0.8 * (kept.every or 0)), now
  return kept.slots[1][2]
end

return window
