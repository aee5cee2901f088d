-- What policies that keep a number of workers have in common.
--
-- Parameters are tables of their own for each policy: take them with `params`, and add or replace.

local pool = {}

-- Where and how workers are launched. The old names are those of launch plans written for the Python EPU.
function pool.params(more)
  local params = {
    site = {
      type = "site",
      aliases = { "force_site", "iaas_site" },
      doc = "site of all workers; without it the pool's placement decides",
    },
    allocation = {
      type = "string",
      aliases = { "epuworker_allocation", "iaas_allocation" },
      doc = "size of the machines in the site's words; without it the pool's placement decides",
    },
    vars = {
      type = "map",
      of = "string",
      default = {},
      aliases = { "provisioner_vars" },
      doc = "variables of new workers, on top of the pool's own; replaced as a whole",
    },
    heal = {
      type = "boolean",
      default = true,
      aliases = { "!devmode_no_failure_compensation" },
      doc = "false leaves failed and unhealthy workers as they are, for development",
    },
    worker_type = {
      type = "string",
      aliases = { "epuworker_type", "deployable_type" },
      doc = "accepted from old launch plans and not used: the pool's deployable_type says what is launched",
    },
    victims = {
      type = "enum",
      values = { "newest", "oldest", "idle-longest", "most-expensive", "nearest-charge" },
      default = "newest",
      doc = "which of equally dispensable workers end first when there are too many",
    },
  }
  return pool.over(more or {}, params)
end

-- A new table: the entries of `own` first, then those of `common` that it does not have.
function pool.over(own, common)
  local all = {}
  for key, value in pairs(own) do
    all[key] = value
  end
  for key, value in pairs(common) do
    if all[key] == nil then
      all[key] = value
    end
  end
  return all
end

-- The largest pool there can be. control.scale_to refuses more as a mistake, so a policy that computes its
-- number from something outside, such as a queue of millions, cuts it first: then limits.max has its say.
pool.most = 100000

-- The number to wish for: n, or the most that can be, with a reason.
---@param control epu.Control
---@param n number
---@return number
function pool.within(control, n)
  if n <= pool.most then
    return n
  end
  control.because("cut from " .. n .. " to " .. pool.most .. ": no pool is larger", "largest pool")
  return pool.most
end

-- The options of control.scale_to for these parameters.
function pool.options(conf)
  return {
    site = conf.site,
    allocation = conf.allocation,
    vars = conf.vars,
    heal = conf.heal,
    victims = conf.victims,
  }
end

-- A new table with the entries of both; those of `over` win.
function pool.merge(base, over)
  local merged = {}
  for key, value in pairs(base) do
    merged[key] = value
  end
  for key, value in pairs(over) do
    merged[key] = value
  end
  return merged
end

-- "1 worker", "3 workers"
function pool.plural(n, word)
  if n == 1 then
    return "1 " .. word
  end
  return n .. " " .. word .. "s"
end

-- How many entries a table has.
function pool.size(t)
  local n = 0
  for _ in pairs(t) do
    n = n + 1
  end
  return n
end

return pool
