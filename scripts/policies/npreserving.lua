-- npreserving: keep N workers, some of them with a name and variables of their own.
--
-- The default policy. It wishes for a number and for names; what to launch, replace or end for that is
-- worked out by the host, at once and in the same way for every policy:
--   * an unhealthy or failed worker is replaced, unless heal is false;
--   * a name that is gone from `unique` ends its worker, and a new one launches a worker, even if the
--     variables of both are the same;
--   * changed variables under a kept name count from that worker's next replacement on;
--   * after a restart workers are known again by their names.
-- It never looks at single workers, so a tick costs the same for 5 and for 10 000 of them.

local pool = require "lib.pool"

return {
  doc = "Keep a fixed number of workers; replace those that fail.",

  params = pool.params {
    preserve_n = {
      type = "integer",
      min = 0,
      default = 0,
      unit = "workers",
      doc = "how many workers to keep, unique ones included",
    },
    unique = {
      type = "map",
      of = "map",
      default = {},
      aliases = { "unique_instances" },
      doc = "workers that exist exactly once: a map from name to the variables of that worker",
    },
  },

  validate = function(conf)
    local uniques = pool.size(conf.unique)
    if uniques > conf.preserve_n then
      error(pool.plural(uniques, "unique worker") .. ", but preserve_n is only " .. conf.preserve_n
        .. ": raise preserve_n or remove names from unique", 0)
    end
    for name, vars in pairs(conf.unique) do
      for key, value in pairs(vars) do
        if type(value) == "table" then
          error("unique." .. name .. "." .. key .. " is a table: variables are texts, numbers or booleans", 0)
        end
      end
    end
  end,

  ---@param control epu.Control
  ---@param state epu.State
  decide = function(control, state, conf)
    local n, uniques = conf.preserve_n, 0
    for name, vars in pairs(conf.unique) do
      control.want(name, { vars = pool.merge(conf.vars, vars), site = conf.site, allocation = conf.allocation })
      uniques = uniques + 1
    end

    local text = "preserve_n = " .. n
    if uniques > 0 then
      text = text .. ", of which " .. uniques .. " unique"
    end
    if not conf.heal then
      text = text .. "; failed workers are left as they are (heal = false)"
    end
    control.because(text, "preserve_n")
    control.scale_to(pool.within(control, n), pool.options(conf))

    local bad = state.unhealthy_count()
    if bad > 0 and conf.heal then
      control.because(pool.plural(bad, "unhealthy worker") .. " to replace", "heal")
    end
  end,
}
