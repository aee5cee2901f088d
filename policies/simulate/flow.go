package simulate

import (
	"time"

	"github.com/nimbus-epu/epu"
)

// flowQueue is work that comes too fast to look at each piece: what comes in an interval is spread evenly
// over it, all workers share it, and what they can't do waits, first come, first served. It knows no single
// busy worker, so policies that end idle workers need jobs.
type flowQueue struct {
	flows   []Flow
	every   time.Duration
	piece   float64 // seconds that one worker works on one piece
	at      int     // of flows: the first that is not over
	now     time.Duration
	serving map[epu.WorkerID]bool
	line    []chunk // waiting, behind head
	head    int
	backlog float64
	served  []wait
	arrived float64
	done    float64
	used    float64 // share of the workers' time that was used in the last step
}

// chunk is pieces that came at about one time.
type chunk struct {
	at     time.Duration
	pieces float64
}

func newFlowQueue(w *Workload, piece time.Duration) *flowQueue {
	return &flowQueue{flows: w.Flows, every: w.Every, piece: piece.Seconds(), serving: map[epu.WorkerID]bool{}}
}

// next is where the rate changes.
func (q *flowQueue) next() (time.Duration, bool) {
	if q.at >= len(q.flows) {
		return 0, false
	}
	f := q.flows[q.at]
	if f.At > q.now {
		return f.At, true
	}
	return f.At + q.every, true
}

// come is what comes in between now and then, and moves on in the list of intervals.
func (q *flowQueue) come(then time.Duration) (pieces float64) {
	for q.at < len(q.flows) {
		f := q.flows[q.at]
		from, to := max(f.At, q.now), min(f.At+q.every, then)
		if to > from {
			pieces += f.Count * float64(to-from) / float64(q.every)
		}
		if f.At+q.every > then {
			return pieces
		}
		q.at++
	}
	return pieces
}

func (q *flowQueue) advance(then time.Duration) {
	if then <= q.now {
		return
	}
	mid := q.now + (then-q.now)/2
	fresh := q.come(then)
	able := float64(len(q.serving)) * (then - q.now).Seconds() / q.piece
	q.now = then
	q.arrived += fresh
	was := able
	for q.head < len(q.line) && able > 0 {
		c := &q.line[q.head]
		n := min(c.pieces, able)
		q.served = append(q.served, wait{seconds: (mid - c.at).Seconds(), pieces: n})
		able -= n
		q.backlog -= n
		if c.pieces -= n; c.pieces <= 1e-9 {
			q.head++
		}
	}
	if n := min(fresh, able); n > 0 {
		q.served = append(q.served, wait{pieces: n})
		fresh -= n
		able -= n
	}
	if fresh > 1e-9 {
		q.line = append(q.line, chunk{at: mid, pieces: fresh})
		q.backlog += fresh
	}
	if q.head == len(q.line) {
		q.line, q.head, q.backlog = q.line[:0], 0, 0
	}
	q.done += was - able
	q.used = 0
	if was > 0 {
		q.used = (was - able) / was
	}
}

func (q *flowQueue) ready(id epu.WorkerID) { q.serving[id] = true }
func (q *flowQueue) lost(id epu.WorkerID)  { delete(q.serving, id) }

func (q *flowQueue) measure() gauges {
	busy := q.used * float64(len(q.serving))
	return gauges{waiting: q.backlog, working: busy, busy: busy, left: q.backlog * q.piece, arrived: q.arrived, done: q.done}
}

func (q *flowQueue) waits() []wait {
	out := q.served
	for _, c := range q.line[q.head:] {
		out = append(out, wait{seconds: (q.now - c.at).Seconds(), pieces: c.pieces})
	}
	return out
}

// demand is the workers that keep up with what comes in.
func (q *flowQueue) demand() float64 {
	if q.at < len(q.flows) && q.flows[q.at].At <= q.now {
		return q.flows[q.at].Count * q.piece / q.every.Seconds()
	}
	return 0
}

func (q *flowQueue) over() bool { return q.at >= len(q.flows) && q.backlog <= 1e-6 }
