-- combine: several rules for one pool, of which the largest answer wins.
--
-- Each rule is another policy with a configuration of its own, and with a memory and a target of its own,
-- as if it were alone. The pool grows when one rule wants more, and shrinks only as far as all agree. While
-- a rule can't see (no reading, a stale one), nothing shrinks at all.

local conf = require "lib.conf"
local demand = require "lib.demand"
local rules = require "lib.rules"

return {
  doc = "Combine several rules: the largest answer wins, and nothing shrinks unless all agree.",

  params = demand.params {
    rules = {
      type = "list", of = "map", min = 1, max = 10, required = true,
      doc = "the rules, each {policy: NAME, conf: {...}} with the parameters of that policy",
      example = {
        { policy = "queuelen", conf = { queuelen_high_water = 200, queuelen_low_water = 20 } },
        { policy = "npreserving", conf = { preserve_n = 2 } },
      },
    },
    stabilisation = {
      type = "duration", min = 0, max = 86400, default = "0s",
      doc = "shrink only to what every evaluation within this time would have allowed, on top of what the rules do",
    },
  },

  validate = function(given)
    local found = {}
    conf.try(found, {}, demand.validate, given)
    for i, rule in ipairs(given.rules) do
      rules.check(rule, { "rules", i }, found)
    end
    return found
  end,

  ---@param control epu.Control
  ---@param state epu.State
  decide = function(control, state, whole)
    local memory = state.memory
    local kept, before, answers = {}, memory.rules or {}, {}
    local n, winner, blind = -1, nil, nil
    for i, given in ipairs(whole.rules) do
      local policy, full, where = rules.read(given, "rule " .. i)
      kept[i] = before[i] and before[i].policy == given.policy and before[i] or { policy = given.policy }
      local said = rules.ask(policy, state, full, kept[i])
      answers[i] = where .. " wants " .. said.n .. ": " .. said.text
      for _, alert in ipairs(said.alerts) do
        control.alert(where .. ": " .. alert)
      end
      if said.n > n then
        n, winner = said.n, i
      end
      blind = blind or said.blind and where
    end
    memory.rules = kept

    local p = blind and rules.unseen(state, whole, n, blind)
    if p then
      winner = nil
    else
      p = { n = n, text = answers[winner], rule = "largest" }
    end
    demand.settle(control, state, whole, p)
    for i, answer in ipairs(answers) do
      if i ~= winner then
        control.because(answer, "answer")
      end
    end
  end,
}
