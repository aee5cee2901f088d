-- Configurations inside configurations: values that the host does not check because they stand in a list
-- or map of a policy's own, brought into form against declarations like those of `params`.

local show = require "lib.show"

local conf = {}

local units = { h = 3600, m = 60, s = 1, ms = 0.001 }

-- Seconds of a text such as 90s, 5m or 1h30m; nil when it is none.
---@param v any
---@return number?
function conf.seconds(v)
  if type(v) ~= "string" or v == "" then
    return nil
  end
  local sum, rest = 0, v
  while rest ~= "" do
    local n, unit, more = text.match(rest, [[^([0-9]+(?:\.[0-9]+)?)(h|ms|m|s)(.*)$]])
    if n == nil then
      return nil
    end
    sum, rest = sum + tonumber(n) * units[unit], more
  end
  return sum
end

local function shown(v)
  if type(v) == "string" then
    return '"' .. v .. '"'
  end
  return type(v) == "number" and show.number(v) or type(v) == "table" and "a table" or tostring(v)
end

-- One value in the form that policies see; nil and what is wrong with it otherwise.
local function value(p, v)
  local kind = p.type
  if kind == "integer" or kind == "number" or kind == "duration" then
    local n = kind == "duration" and conf.seconds(v) or kind ~= "duration" and tonumber(v) or nil
    if n == nil or kind == "integer" and n ~= math.floor(n) then
      local form = { integer = "a whole number", number = "a number", duration = "a duration such as 90s or 5m" }
      return nil, "must be " .. form[kind] .. ", got " .. shown(v)
    end
    if p.min and n < p.min or p.max and n > p.max then
      local form = kind == "duration" and show.span or show.number
      local bound = p.min and n < p.min and "at least " .. form(p.min) or "at most " .. form(p.max)
      return nil, "must be " .. bound .. ", got " .. shown(v)
    end
    return n
  elseif kind == "boolean" then
    if v == true or v == "true" then
      return true
    elseif v == false or v == "false" then
      return false
    end
    return nil, "must be true or false, got " .. shown(v)
  elseif kind == "enum" then
    for _, word in ipairs(p.values) do
      if v == word then
        return v
      end
    end
    return nil, "must be one of " .. table.concat(p.values, ", ") .. ", got " .. shown(v)
  elseif kind == "list" or kind == "map" then
    if type(v) ~= "table" then
      return nil, "must be a " .. kind .. ", got " .. shown(v)
    end
    return v
  end
  if type(v) == "number" then
    v = show.number(v)
  end
  local named = kind == "sensor" or kind == "site"
  if type(v) ~= "string" or named and v == "" then
    return nil, (named and "must be the name of a " .. kind .. ", got " or "must be a text, got ") .. shown(v)
  end
  return v
end

-- The parameter behind a key: its own name or an old one. Old names that mean the opposite are not taken.
local function find(params, key)
  if params[key] then
    return key
  end
  for name, p in pairs(params) do
    for _, alias in ipairs(p.aliases or {}) do
      if alias == key then
        return name
      end
    end
  end
end

-- What is given with the defaults for the rest; wrong is told of everything that is wrong.
local function form(params, given, wrong)
  local full = {}
  for key, v in pairs(given) do
    local name = find(params, key)
    if name == nil then
      local names = {}
      for known in pairs(params) do
        table.insert(names, known)
      end
      table.sort(names)
      wrong(key, "is no parameter; there are " .. table.concat(names, ", "))
    else
      local good, problem = value(params[name], v)
      if problem then
        wrong(key, problem)
      end
      full[name] = good
    end
  end
  for name, p in pairs(params) do
    local missing = full[name] == nil
    for key in pairs(missing and given or {}) do
      missing = missing and find(params, key) ~= name -- what is given and wrong was told
    end
    if missing and p.required then
      wrong(name, "is required: " .. (p.doc or ""))
    elseif missing and p.default ~= nil then
      full[name] = value(p, p.default)
    end
  end
  return full
end

-- What is given with the defaults for the rest. What is wrong is an error that begins with `where`.
---@param params table<string, table>
---@param given table<string, any>
---@param where string
---@return table<string, any>
function conf.fill(params, given, where)
  return form(params, given, function(key, problem)
    error(where .. ": " .. tostring(key) .. " " .. problem, 0)
  end)
end

-- The same for validate: everything that is wrong is added to what it returns. `at` is the way to what is given,
-- such as { "lines", 2 }.
---@param params table<string, table>
---@param given table<string, any>
---@param at (string|integer)[]
---@param found epu.Finding[]
---@return table<string, any>
function conf.check(params, given, at, found)
  return form(params, given, function(key, problem)
    table.insert(found, { at = conf.path(at, key), text = problem })
  end)
end

-- A way with more at its end: one step, or the rest of the way.
---@param at (string|integer)[]
---@param more string|integer|(string|integer)[]|nil
---@return (string|integer)[]
function conf.path(at, more)
  local path = {}
  for _, steps in ipairs { at, type(more) == "table" and more or { more } } do
    for _, step in ipairs(steps) do
      table.insert(path, step)
    end
  end
  return path
end

-- Calls a check that returns findings or fails, and adds what it says, which is about what is at `at`.
---@param found epu.Finding[]
---@param at (string|integer)[]
---@param check fun(...): epu.Finding[]?
---@param ... any
function conf.try(found, at, check, ...)
  local ok, said = pcall(check, ...)
  if not ok then
    table.insert(found, { at = at, text = tostring(said) })
    return
  end
  for _, one in ipairs(said or {}) do
    table.insert(found, { at = conf.path(at, one.at), text = one.text })
  end
end

return conf
