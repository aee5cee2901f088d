-- What policies have in common that change the number of workers with the demand: limits of their own,
-- steps that wait for the last one, and shrinking only when a whole window of time would have allowed it.
--
-- A policy works out a proposal and ends with `demand.settle`. Failed workers are replaced by the host
-- whatever is proposed, so nothing here can delay that.

local pool = require "lib.pool"
local show = require "lib.show"
local window = require "lib.window"

local demand = {}

---@class lib.Proposal
---@field n number workers wanted
---@field allows number? fewest workers this evaluation would be content with; default n
---@field floor number? fewest workers while there is work, but never above max_instances
---@field text string why
---@field rule string? short name of the rule
---@field span number? seconds of stabilisation; default conf.stabilisation

-- Parameters of every such policy: `pool.params` and the limits.
function demand.params(more)
  return pool.params(pool.over(more or {}, {
    min_instances = {
      type = "integer", min = 0, default = 0, unit = "workers", aliases = { "minimum_vms" },
      doc = "never fewer workers than this",
    },
    max_instances = {
      type = "integer", min = 0, unit = "workers", aliases = { "maximum_vms" },
      doc = "never more workers than this; without it only limits.max of the pool bounds them",
    },
    stabilisation = {
      type = "duration", min = 0, max = 86400, default = "5m",
      doc = "shrink only to what every evaluation within this time would have allowed; 0s shrinks at once",
    },
  }))
end

-- The original never grew while any worker was starting.
demand.starting_allowed = {
  type = "integer", min = 0, default = 0, unit = "workers",
  doc = "a further step up waits while more workers than this are still starting; raise it for large pools, "
    .. "in which some worker is always being replaced",
}

-- Parameters of policies that grow in steps.
function demand.step_params(more)
  return demand.params(pool.over(more or {}, {
    step_up = { type = "integer", min = 1, default = 1, unit = "workers", doc = "how many workers one step up adds" },
    step_down = { type = "integer", min = 1, default = 1, unit = "workers", doc = "how many workers one step down takes away" },
    starting_allowed = demand.starting_allowed,
  }))
end

-- Refuses limits that contradict each other.
function demand.validate(conf)
  if conf.max_instances and conf.min_instances > conf.max_instances then
    error("min_instances (" .. conf.min_instances .. ") is above max_instances (" .. conf.max_instances .. ")", 0)
  end
end

-- Workers that serve: without those that drain.
---@param state epu.State
---@return number
function demand.serving(state)
  return state.running() - state.draining()
end

-- Workers that serve or will: without those that drain.
---@param state epu.State
---@return number
function demand.have(state)
  return state.running() + state.starting() - state.draining()
end

-- Why a step up has to wait for the last one, or nil.
---@param state epu.State
---@return string?
function demand.wait(state, conf)
  local starting = state.starting()
  local missing = math.max(0, state.target - demand.have(state))
  if starting + missing <= conf.starting_allowed then
    return nil
  end
  if starting == 0 then
    return missing == 1 and "1 worker is still to be launched" or missing .. " workers are still to be launched"
  end
  return starting == 1 and "1 worker is still starting" or starting .. " workers are still starting"
end

-- The target of a step up by n: from what serves, if that is more than what is wanted.
---@param state epu.State
---@return number
function demand.more(state, n)
  return math.max(state.target, demand.have(state)) + n
end

-- The rule of reasons that say that a policy could not see. `combine` looks for it.
demand.blind = "no data"

-- Keeps what was wanted for want of data; limits still hold.
function demand.hold(control, state, conf, why, span)
  local n = state.target
  local stays = demand.limited(conf, n) == n and ", so the wish stays " .. n or ""
  demand.settle(control, state, conf, { n = n, text = why .. stays, rule = demand.blind, span = span })
end

-- A number within a policy's own limits; max_instances wins over all that asks for more.
---@param conf table
---@param n number
---@param floor number? fewest workers besides min_instances
---@return number
function demand.limited(conf, n, floor)
  return math.min(math.max(n, conf.min_instances, floor or 0), conf.max_instances or math.huge)
end

-- Makes a proposal the wish: stabilised, then within the policy's limits, with reasons. Gives the target.
---@param control epu.Control
---@param state epu.State
---@param proposal lib.Proposal
---@return number
function demand.settle(control, state, conf, proposal)
  local target, n, span = state.target, math.min(proposal.n, pool.most), proposal.span or conf.stabilisation
  local floor = math.max(proposal.floor or 0, conf.min_instances)
  control.because(proposal.text, proposal.rule)

  local least = math.min(math.max(floor, proposal.allows or n), pool.most)
  if span > 0 then
    local memory = state.memory
    memory.down = memory.down or {}
    least = window.most(memory.down, state.now, span, least, target)
  end
  local kept = math.min(target, least)
  if demand.limited(conf, n, floor) < demand.limited(conf, kept, floor) then
    control.because("kept at " .. kept .. " and not shrunk to " .. n .. ": within the last "
      .. show.span(span) .. " that was not enough", "stabilisation")
    n = kept
  end

  if n < conf.min_instances then
    control.because("raised from " .. n .. " to min_instances " .. conf.min_instances, "min_instances")
    n = conf.min_instances
  elseif n < floor then
    control.because("raised from " .. n .. " to " .. floor .. ", since there is work", "work")
    n = floor
  end
  local found = n == pool.most and math.max(n, proposal.n) or n
  if conf.max_instances and n > conf.max_instances then
    control.because("cut from " .. found .. " to max_instances " .. conf.max_instances, "max_instances")
    n = conf.max_instances
  else
    n = pool.within(control, found)
  end
  control.scale_to(n, pool.options(conf))
  return n
end

return demand
