-- Tests of sites.lua. Workers run and are well unless something else is said.

test.policy "sites"

local three = { { site = "east", size = 4 }, { site = "west", size = 3 }, { site = "north" } }
local places = { "east", "west", "north" }

local function at(east, west, north)
  local list = {}
  for site, n in pairs { east = east, west = west or 0, north = north or 0 } do
    if n > 0 then
      table.insert(list, { site = site, count = n })
    end
  end
  return list
end

test.case {
  name = "sites are filled in their order, and left in the opposite one",
  conf = { sites = three, preserve_n = 9 },
  places = places,
  steps = {
    { places = places, workers = {}, expect = { target = 9, sites = { east = 4, west = 3, north = 2 }, because = "placed: east 4, west 3, north 2" } },
    { workers = at(4, 3, 2), expect = { sites = { east = 4, west = 3, north = 2 } } },
    { reconfigure = { preserve_n = 6 }, expect = { target = 6, sites = { east = 4, west = 2, north = 0 } } },
  },
}

test.case {
  name = "ranks may say the order",
  conf = { sites = { { site_name = "east", size = 4, rank = 2 }, { site_name = "west", size = -1, rank = 1 } }, domain_desired_size = 3 },
  steps = { { places = places, workers = {}, expect = { target = 3, sites = { east = 0, west = 3, north = 0 } } } },
}

test.case {
  name = "nothing is moved: only what is new goes by the order",
  conf = { sites = three, preserve_n = 4 },
  steps = {
    { places = places, workers = at(1, 0, 3), expect = { sites = { east = 1, west = 0, north = 3 } } },
    { workers = at(1, 0, 2), expect = { sites = { east = 2, west = 0, north = 2 } } },
  },
}

test.case {
  name = "a site that has become too small gives up workers, which are made up for elsewhere",
  conf = { sites = three, preserve_n = 4 },
  steps = {
    { places = places, workers = at(4), expect = { sites = { east = 4, west = 0, north = 0 } } },
    { reconfigure = { sites = { { site = "east", size = 1 }, { site = "west" } } }, expect = { target = 1, sites = { east = 1, west = 0, north = 0 }, because = "3 workers too many for the size of a site" } },
    { workers = at(1), expect = { target = 4, sites = { east = 1, west = 3, north = 0 } } },
  },
}

test.case {
  name = "a site where launches fail is full, and is trusted again little by little",
  conf = { sites = { { site = "east" }, { site = "west" } }, preserve_n = 8, retry_after = "10m" },
  steps = {
    { places = places, workers = at(3), expect = { sites = { east = 8, west = 0, north = 0 } } },
    { site_backoff = { east = 30 }, expect = { target = 8, sites = { east = 3, west = 5, north = 0 }, because = "launches failed at east" } },
    { workers = at(3, 4), site_backoff = {}, expect = { sites = { east = 3, west = 5, north = 0 }, because = "launches failed at east" } },
    { after = 600, expect = { sites = { east = 4, west = 4, north = 0 } } },
    { after = 600, workers = at(3, 2), expect = { sites = { east = 5, west = 3, north = 0 } } },
    { after = 600, workers = at(3, 0), expect = { sites = { east = 7, west = 1, north = 0 } } },
    { after = 6000, expect = { sites = { east = 8, west = 0, north = 0 } } },
  },
}

test.case {
  name = "too little room is said",
  conf = { sites = { { site = "east", size = 4 }, { site = "west", size = 3 } }, preserve_n = 10 },
  steps = { { places = places, workers = {}, expect = { target = 7, sites = { east = 4, west = 3, north = 0 }, because = "room for 7 of 10", alert = "room for fewer workers" } } },
}

test.case {
  name = "a site outside the placement gets nothing",
  conf = { sites = { { site = "south" }, { site = "east" } }, preserve_n = 2 },
  steps = { { places = places, workers = {}, expect = { target = 2, sites = { south = 0, east = 2, west = 0, north = 0 }, alert = "site 'south' is not in the pool's placement" } } },
}

test.case {
  name = "evenly: new workers go where the fewest are, surplus ends where the most are",
  conf = { sites = three, preserve_n = 7, spread = "even" },
  steps = {
    { places = places, workers = {}, expect = { target = 7, sites = { east = 3, west = 2, north = 2 } } },
    { reconfigure = { preserve_n = 20 }, expect = { target = 20, sites = { east = 4, west = 3, north = 13 } } },
    { workers = at(4, 3, 13), reconfigure = { preserve_n = 6 }, expect = { target = 6, sites = { east = 2, west = 2, north = 2 } } },
    { workers = at(2, 2, 0), expect = { sites = { east = 2, west = 2, north = 2 } } },
  },
}

test.case {
  name = "another policy may say how many",
  conf = { sites = three, demand = { policy = "target", conf = { sensor = "load", target = 10, mode = "total", min_instances = 0 } }, min_instances = 1 },
  steps = {
    { places = places, workers = {}, sensors = { load = { value = 48 } }, expect = { target = 5, sites = { east = 4, west = 1, north = 0 }, because = "demand (target) wants 5: load 48" } },
    { sensors = { load = { value = 0, quality = "stale" } }, workers = at(4, 1), expect = { target = 5, sites = { east = 4, west = 1, north = 0 }, because = "load is stale" } },
  },
}

test.case {
  name = "while the policy that says how many can't see, nothing shrinks",
  doc = "Its own wish may be lower than what there is, when limits of the whole asked for more.",
  conf = { sites = three, stabilisation = "1m",
    demand = { policy = "target", conf = { sensor = "load", target = 10, mode = "total", min_instances = 0, stabilisation = "0s" } } },
  steps = {
    { places = places, workers = {}, sensors = { load = { value = 48 } }, expect = { target = 5 } },
    { after = 10, workers = at(4, 1), sensors = { load = { value = 20 } }, expect = { target = 5, because = "demand (target) wants 2: load 20" } },
    { after = 90, sensors = { load = { value = 20, quality = "stale" } }, expect = { target = 5,
      because = "not shrunk from 5 to 2: demand (target) can't see (load is stale: " } },
    { after = 10, sensors = { load = { value = 20 } }, expect = { target = 5 } },
  },
}

for want, conf in pairs {
  ["give either preserve_n or demand"] = { sites = three },
  ["sites: the ranks must be 1 to 2 without gaps or repeats"] = { preserve_n = 1, sites = { { site = "a", rank = 1 }, { site = "b", rank = 3 } } },
  ["sites: the ranks must be 1 to 2 without"] = { preserve_n = 1, sites = { { site = "a", rank = 1 }, { site = "b" } } },
  ["sites[1].site: 'a' stands twice"] = { preserve_n = 1, sites = { { site = "a" }, { site = "a" } } },
  ["sites[1].site: is required"] = { preserve_n = 1, sites = { { site = "a" }, { size = 1 } } },
  ["sites[0].size: must be at least -1, got -2"] = { preserve_n = 1, sites = { { site = "a", size = -2 } } },
  ["demand.conf.sensor: is required"] = { sites = three, demand = { policy = "target", conf = { target = 1 } } },
} do
  test.case { name = "refused: " .. want, conf = conf, refused = want }
end
