package simulate_test

import (
	"cmp"
	"compress/gzip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/policies/simulate"
)

// trace is a recorded workload, in a folder that the environment variable EPU_TRACES names.
type trace struct {
	file  string
	tick  time.Duration
	piece time.Duration // of a flow
	confs map[string]map[string]any
}

// traces are of four kinds: flash crowds, a queue of jobs, weak load with an outage of 38 hours, and the daily waves
// of a load balancer.
var traces = []trace{
	{
		file: "worldcup98_per_minute.csv.gz", tick: time.Minute, piece: 250 * time.Millisecond,
		confs: map[string]map[string]any{
			"queuelen": {"queuelen_high_water": 2000, "queuelen_low_water": 200, "step_up": 20, "step_down": 5, "max_instances": 1500},
			"target":   {"sensor": "utilization", "target": 70, "max_instances": 1500},
		},
	},
	{
		file: "alibaba_genai2026_jobs.csv.gz", tick: 15 * time.Second,
		confs: map[string]map[string]any{
			"queuelen": {"queuelen_high_water": 10, "queuelen_low_water": 1, "step_up": 2, "max_instances": 100},
			"target":   {"sensor": "utilization", "target": 70, "max_instances": 100},
			"batch":    {"max_instances": 100},
		},
	},
	{
		file: "nasa_http_per_minute.csv.gz", tick: time.Minute, piece: 2 * time.Second,
		confs: map[string]map[string]any{
			"queuelen": {"queuelen_high_water": 20, "queuelen_low_water": 2, "max_instances": 50},
			"target":   {"sensor": "utilization", "target": 70, "max_instances": 50},
		},
	},
	{
		file: "nab_elb_request_count_8c0756.csv.gz", tick: time.Minute, piece: 10 * time.Second,
		confs: map[string]map[string]any{
			"queuelen": {"queuelen_high_water": 20, "queuelen_low_water": 2, "max_instances": 50},
			"target":   {"sensor": "utilization", "target": 70, "max_instances": 50},
		},
	},
}

// BenchmarkTraces runs policies over recorded work and reports what they took and how long work waited. It
// is skipped without EPU_TRACES.
func BenchmarkTraces(b *testing.B) {
	folder := os.Getenv("EPU_TRACES")
	if folder == "" {
		b.Skip("EPU_TRACES names no folder of recorded traces")
	}
	for _, tr := range traces {
		f, err := os.Open(filepath.Join(folder, tr.file))
		if err != nil {
			b.Log(err)
			continue
		}
		z, err := gzip.NewReader(f)
		if err != nil {
			b.Fatal(err)
		}
		w, err := simulate.ReadCSV(tr.file, z)
		_ = f.Close()
		if err != nil {
			b.Fatal(err)
		}
		for _, name := range []string{"queuelen", "target", "batch"} {
			conf, ok := tr.confs[name]
			if !ok {
				continue
			}
			b.Run(tr.file[:len(tr.file)-len(".csv.gz")]+"/"+name, func(b *testing.B) {
				p := load(b, name)
				var r *simulate.Result
				for b.Loop() {
					r = run(b, simulate.Config{
						Policy: p, Conf: conf, Workload: w, Tick: tr.tick, JobLength: simulate.Always(cmp.Or(tr.piece, time.Minute)),
						Boot: simulate.Always(2 * time.Minute), Limits: wide(),
					})
				}
				t := r.Totals
				b.ReportMetric(t.WorkerHours, "worker-h")
				b.ReportMetric(100*t.BusyShare, "%busy")
				b.ReportMetric(t.WaitP50, "s-p50")
				b.ReportMetric(t.WaitP99, "s-p99")
				b.ReportMetric(100*t.Done/t.Jobs, "%done")
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(t.Decisions), "ns/decision")
			})
		}
	}
}

// wide are guard rails for pools of many hundred workers.
func wide() *epu.Limits {
	l := simulate.DefaultLimits()
	l.InFlight, l.Launches.N = 500, 1000
	return &l
}
