package policy

import "github.com/nimbus-epu/epu/policies/reference"

// templatePolicy is a policy that can be read in a minute and does something: workers for a queue.
const templatePolicy = `-- NAME: one worker for so many messages in a queue.

return {
  doc = "Keep one worker for every per_worker messages in a queue.",

  params = {
    per_worker = { type = "integer", min = 1, default = 10, unit = "messages", doc = "messages that one worker is meant to have" },
    min_instances = { type = "integer", min = 0, default = 0, unit = "workers", doc = "never fewer workers" },
    max_instances = { type = "integer", min = 0, default = 10, unit = "workers", doc = "never more workers" },
    sensor = { type = "sensor", default = "queue-length", doc = "sensor that gives the length of the queue" },
  },

  validate = function(conf)
    if conf.min_instances > conf.max_instances then
      error("min_instances (" .. conf.min_instances .. ") is above max_instances (" .. conf.max_instances .. ")", 0)
    end
  end,

  ---@param control epu.Control
  ---@param state epu.State
  decide = function(control, state, conf)
    local queue = state.sensor(conf.sensor)
    if queue == nil or queue.quality ~= "ok" then
      control.scale_to(math.max(state.target, conf.min_instances))
      control.because("no good reading of " .. conf.sensor .. ", so nothing shrinks", "blind")
      return
    end
    local n = math.ceil(queue.value / conf.per_worker)
    control.because(queue.value .. " messages for " .. conf.per_worker .. " each make " .. n .. " workers", "per_worker")
    control.scale_to(math.min(math.max(n, conf.min_instances), conf.max_instances))
  end,
}
`

const templateTest = `-- Tests of NAME.lua: single decisions, with workers and readings as each case gives them.

test.policy "NAME"

test.case {
  name = "a full queue",
  conf = { per_worker = 10, max_instances = 5 },
  steps = {
    { sensors = { ["queue-length"] = { value = 0 } }, expect = { target = 0 } },
    { sensors = { ["queue-length"] = { value = 25 } }, expect = { target = 3, because = "make 3 workers" } },
    { sensors = { ["queue-length"] = { value = 500 } }, expect = { target = 5 } },
  },
}

test.case {
  name = "no reading, no change",
  wish = 3,
  sensors = {},
  expect = { target = 3, because = "no good reading" },
}

test.case {
  name = "limits that contradict each other",
  conf = { min_instances = 4, max_instances = 2 },
  refused = "min_instances (4) is above max_instances (2)",
}
`

const templateScenarios = `# Tests of NAME.lua over time: what its sensors read, and what it should want and why.
# One sample per interval: 5x3 = 5 and then 3 repeats, 0+10x6 = 0 and 6 steps of 10, _ = no sample.
schema: epu/policy-test/v1
policy: NAME.lua
interval: 5s
conf: {per_worker: 10, max_instances: 5}
world: {boot: 10s}               # a launched worker runs after 10 s
tests:
  - name: the pool follows the queue up and down
    series: {queue-length: "0 10+10x3 0x6"}
    expect:
      - {at: 0s, target: 0}
      - {at: 5s, target: 1, starting: 1}
      - {at: 15s, target: 3, running: 1, because: make 3 workers}
      - {at: 45s, target: 0, running: 0}
    totals: {launches: 4}
  - name: a sensor that falls silent freezes the pool
    world: {workers: 3}
    series: {queue-length: "30 _x12"}
    expect:
      - {at: 60s, target: 3, because: no good reading}
`

// templateCopied is for copies of policies that have no scenarios.
const templateCopied = `# Tests of %[1]s.lua over time: what its sensors read, and what it should want and why.
schema: epu/policy-test/v1
policy: %[1]s.lua
interval: 5s
world: {boot: 10s}
tests:
  - name: the policy decides without an error
    expect:
      - {at: 30s, error: ""}
`

// editorFiles are what editors and luacheck look for beside Lua files.
func editorFiles() []file {
	return []file{
		{name: ".luarc.json", text: reference.Luarc(), keep: true},
		{name: ".luacheckrc", text: reference.Luacheckrc(), keep: true},
		{name: "epu.d.lua", text: reference.Types(), keep: true},
	}
}
