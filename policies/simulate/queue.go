package simulate

import (
	"container/heap"
	"slices"
	"time"

	"github.com/nimbus-epu/epu"
)

// gauges is what can be measured of the work at one moment.
type gauges struct {
	waiting float64 // pieces that nobody works on
	working float64 // pieces that somebody works on
	left    float64 // seconds of work of one worker, waiting and begun
	arrived float64 // pieces so far
	done    float64 // pieces so far
	busy    float64 // workers that work
}

// wait is how long some pieces waited before somebody worked on them.
type wait struct {
	seconds float64
	pieces  float64
}

// work is a queue with its workers' work. Times are since the start and never go back.
type work interface {
	next() (time.Duration, bool) // when something happens by itself
	advance(now time.Duration)   // lets it happen, up to now
	ready(epu.WorkerID)          // a worker can take work
	lost(epu.WorkerID)           // a worker stopped; what it worked on waits again, first in line
	measure() gauges             // at the time of the last advance
	demand() float64             // workers that would keep anything from waiting
	waits() []wait               // of all that somebody worked on
	over() bool                  // nothing is left and nothing will come
}

// jobQueue gives single jobs to single workers, first come, first served.
type jobQueue struct {
	jobs     []Job
	draw     func() time.Duration // length of a job that has none
	pool     *Pool
	start    time.Time
	now      time.Duration
	arrived  int   // of jobs
	line     []int // waiting jobs, behind head
	head     int
	again    []int // jobs whose worker was lost, before all others
	idle     []epu.WorkerID
	active   map[epu.WorkerID]running
	finishes finishes
	left     time.Duration // of waiting jobs
	begun    time.Duration // ends of running jobs added up
	served   []wait
	waited   map[int]bool // jobs that began once already
	dead     map[epu.WorkerID]bool
	done     int
	ends     []time.Duration // of all jobs, had each begun at once; sorted
	ended    int             // of ends
}

// running is a job in work.
type running struct {
	job int
	end time.Duration
}

// finish is the end of a job in work, if its worker lives until then.
type finish struct {
	at     time.Duration
	job    int
	worker epu.WorkerID
}

type finishes []finish

func (f finishes) Len() int { return len(f) }
func (f finishes) Less(i, j int) bool {
	return f[i].at < f[j].at || f[i].at == f[j].at && f[i].job < f[j].job
}
func (f finishes) Swap(i, j int) { f[i], f[j] = f[j], f[i] }
func (f *finishes) Push(x any)   { *f = append(*f, x.(finish)) }
func (f *finishes) Pop() any {
	last := (*f)[len(*f)-1]
	*f = (*f)[:len(*f)-1]
	return last
}

func newJobQueue(jobs []Job, draw func() time.Duration, start time.Time) *jobQueue {
	q := &jobQueue{jobs: make([]Job, len(jobs)), draw: draw, start: start, active: map[epu.WorkerID]running{}, waited: map[int]bool{}, dead: map[epu.WorkerID]bool{}}
	for i, j := range jobs {
		if j.Length == 0 {
			j.Length = draw()
		}
		q.jobs[i] = j
		q.ends = append(q.ends, j.At+j.Length)
	}
	slices.Sort(q.ends)
	return q
}

func (q *jobQueue) next() (time.Duration, bool) {
	at, some := time.Duration(0), false
	if q.arrived < len(q.jobs) {
		at, some = q.jobs[q.arrived].At, true
	}
	if len(q.finishes) > 0 && (!some || q.finishes[0].at < at) {
		at, some = q.finishes[0].at, true
	}
	return at, some
}

func (q *jobQueue) advance(now time.Duration) {
	q.now = now
	for len(q.finishes) > 0 && q.finishes[0].at <= now {
		f := heap.Pop(&q.finishes).(finish)
		r, ok := q.active[f.worker]
		if !ok || r.job != f.job || r.end != f.at {
			continue // its worker was lost
		}
		delete(q.active, f.worker)
		q.begun -= f.at
		q.done++
		q.pool.Busy(f.worker, q.start.Add(now), time.Time{})
		q.idle = append(q.idle, f.worker)
	}
	for q.arrived < len(q.jobs) && q.jobs[q.arrived].At <= now {
		q.left += q.jobs[q.arrived].Length
		q.line = append(q.line, q.arrived)
		q.arrived++
	}
	q.give()
}

// give lets idle workers take jobs; the one that became idle first is first.
func (q *jobQueue) give() {
	for len(q.idle) > 0 && q.waiting() > 0 {
		id := q.idle[0]
		q.idle = q.idle[1:]
		w := q.pool.find(id)
		if _, works := q.active[id]; works || q.dead[id] || w == nil || w.Draining || !w.Open() {
			continue // a draining one is offered work again if it is called back
		}
		q.begin(id, q.take())
	}
}

func (q *jobQueue) waiting() int { return len(q.again) + len(q.line) - q.head }

func (q *jobQueue) take() (job int) {
	if len(q.again) > 0 {
		job, q.again = q.again[0], q.again[1:]
		return job
	}
	job = q.line[q.head]
	q.head++
	if q.head > 1024 && q.head > len(q.line)/2 {
		q.line, q.head = append([]int(nil), q.line[q.head:]...), 0
	}
	return job
}

func (q *jobQueue) begin(id epu.WorkerID, job int) {
	j := q.jobs[job]
	q.left -= j.Length
	if !q.waited[job] {
		q.served = append(q.served, wait{seconds: (q.now - j.At).Seconds(), pieces: 1})
	}
	end := q.now + j.Length
	q.active[id] = running{job: job, end: end}
	q.begun += end
	heap.Push(&q.finishes, finish{at: end, job: job, worker: id})
	q.pool.Busy(id, q.start.Add(q.now), q.start.Add(end))
}

func (q *jobQueue) ready(id epu.WorkerID) { q.idle = append(q.idle, id) }

func (q *jobQueue) lost(id epu.WorkerID) {
	if q.pool.find(id) != nil {
		q.dead[id] = true // until somebody notices
	} else {
		delete(q.dead, id)
	}
	r, ok := q.active[id]
	if !ok {
		return
	}
	delete(q.active, id)
	q.begun -= r.end
	q.again = append(q.again, r.job)
	q.waited[r.job] = true
	q.left += q.jobs[r.job].Length
}

func (q *jobQueue) measure() gauges {
	n := len(q.active)
	return gauges{
		waiting: float64(q.waiting()), working: float64(n), busy: float64(n), arrived: float64(q.arrived), done: float64(q.done),
		left: (q.left + q.begun - time.Duration(n)*q.now).Seconds(),
	}
}

func (q *jobQueue) waits() []wait {
	out := q.served
	for _, job := range append(q.again, q.line[q.head:]...) { // so far, and longer in truth
		if !q.waited[job] {
			out = append(out, wait{seconds: (q.now - q.jobs[job].At).Seconds(), pieces: 1})
		}
	}
	return out
}

// demand is the jobs that would be in work now, had each begun at once.
func (q *jobQueue) demand() float64 {
	for q.ended < len(q.ends) && q.ends[q.ended] <= q.now {
		q.ended++
	}
	return float64(q.arrived - q.ended)
}

func (q *jobQueue) over() bool {
	return q.arrived == len(q.jobs) && q.waiting() == 0 && len(q.active) == 0
}
