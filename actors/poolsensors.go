package actors

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors/msg"
	"github.com/nimbus-epu/epu/actors/sensing"
)

// PollCall fetches one reading of a sensor that the node itself asks; the result is sensing.Point.
type PollCall struct {
	Sensor string
	Gen    uint64 // of the sensor's definition: an answer to an older one is dropped
	Spec   epu.SensorSpec
}

// Deadline bounds the call.
func (c PollCall) Deadline() time.Duration { return c.Spec.Timeout + callSlack }

// Bounds of sensors.
const (
	callSlack    = 2 * time.Second  // beyond a call's own timeout
	pollsMax     = 8                // polls of one pool that are out at once
	pollEveryMin = time.Second      // whatever a sensor's file says
	recentMax    = 60               // readings shown to people
	offersFirst  = 10 * time.Second // between questions for a site's prices, growing to offersAgain
	offersAgain  = time.Minute
	pollFirst    = 15 * time.Second // where a sensor's file says nothing

	sourceNameMax = 512 // bytes of who pushes: a series remembers some of them
)

// sensorState is one sensor of the pool. It is volatile: until readings come after a restart it is unknown,
// and nothing shrinks because of it.
type sensorState struct {
	spec   epu.SensorSpec
	gen    uint64
	series sensing.Series
	bad    time.Time // since when its reading can't be relied upon; zero when it can

	pushedBy pusher               // of the newest reading
	recorded map[pusher]time.Time // when a record told of them
}

// unseen says since when there is news that the policy has not decided about. Who waits until a pool has what
// it wants waits for the answer to that.
type unseen struct {
	waiting time.Time // oldest news since the last question to the policy; zero = none
	looking time.Time // oldest news that the question being answered is about; zero = none
	newest  time.Time // newest news of all
}

// came notes news.
func (u *unseen) came(now time.Time) {
	if u.newest = now; u.waiting.IsZero() {
		u.waiting = now
	}
}

// asked notes that the policy is asked about all that came.
func (u *unseen) asked() { u.looking, u.waiting = u.oldest(), time.Time{} }

// answered notes that the question led to a decision.
func (u *unseen) answered() { u.looking = time.Time{} }

// unanswered notes that it led to none: what it was about waits for the next one.
func (u *unseen) unanswered() { u.waiting, u.looking = u.oldest(), time.Time{} }

func (u *unseen) oldest() time.Time {
	if u.looking.IsZero() || !u.waiting.IsZero() && u.waiting.Before(u.looking) {
		return u.waiting
	}
	return u.looking
}

// read puts the next series of a sensor in force. A reading that is as before is no news.
func (c *Controller) read(s *sensorState, next sensing.Series, now time.Time) {
	before, after := s.series.Raw(now), next.Raw(now)
	if s.series = next; before.Value != after.Value || before.Quality != after.Quality {
		c.unseen.came(now)
	}
}

// tune brings the sensors in step with the pool's definition. One that is as before, or that only has
// other rules, keeps its readings.
func (c *Controller) tune(now time.Time) {
	if !c.retune {
		return
	}
	c.retune = false
	specs := c.st.Define.Spec.Sensors
	for name := range c.sensors {
		if _, ok := specs[name]; !ok {
			delete(c.sensors, name)
		}
	}
	for name, spec := range specs {
		old := c.sensors[name]
		switch {
		case old == nil || old.spec.Source != spec.Source || !reflect.DeepEqual(old.spec.Query, spec.Query):
			c.sensorGen++
			if c.sensors == nil {
				c.sensors = map[string]*sensorState{}
			}
			c.sensors[name] = &sensorState{spec: spec, gen: c.sensorGen, series: sensing.New(name, spec, now), bad: now}
		case !reflect.DeepEqual(old.spec, spec):
			c.sensorGen++
			old.spec, old.gen, old.series = spec, c.sensorGen, old.series.Under(spec)
		}
	}
}

// polls are the readings that the node fetches itself.
func (c *Controller) polls() []Todo {
	var todo []Todo
	for _, name := range slices.Sorted(maps.Keys(c.sensors)) {
		s := c.sensors[name]
		if !s.spec.Source.Pulled() {
			continue
		}
		every := s.spec.Every
		if every <= 0 {
			every = pollFirst
		}
		todo = append(todo, Todo{
			Key: "poll/" + name + "/" + strconv.FormatUint(s.gen, 10), Every: max(every, pollEveryMin),
			Call: PollCall{Sensor: name, Gen: s.gen, Spec: s.spec}, Group: "poll", Max: pollsMax,
		})
	}
	return todo
}

// polled takes in a reading that was fetched, or why it could not be.
func (c *Controller) polled(call PollCall, r CallResult, now time.Time) {
	s := c.sensors[call.Sensor]
	if s == nil || s.gen != call.Gen {
		return
	}
	point, ok := r.Result.(sensing.Point)
	if r.Err != nil || !ok {
		point = sensing.Point{Unknown: true, Fault: "no answer"}
		if r.Err != nil {
			point.Fault = r.Err.Error()
		}
	}
	next, _, err := s.series.Add(point, now)
	if err != nil {
		next, _, _ = s.series.Add(sensing.Point{Unknown: true, Fault: err.Error()}, now)
	}
	c.read(s, next, now)
}

// push takes in readings from outside, all or none.
func (c *Controller) push(tx *Tx, m msg.Command, p *msg.SensorPush) {
	next := map[string]sensing.Series{}
	var taken []*msg.SensorValue
	var problems, notes []string
	for _, v := range p.GetValues() {
		name := v.GetSensor()
		s := c.sensors[name]
		if wrong := c.unpushable(v, s); wrong != "" {
			problems = append(problems, wrong)
			continue
		}
		series, ok := next[name]
		if !ok {
			series = s.series
		}
		added, note, err := series.Add(sensing.Point{
			Value: v.GetValue(), Unknown: v.GetUnknown(), Age: v.GetAge().AsDuration(), Source: v.GetSource(),
			Fault: faultText(v),
		}, tx.Now())
		if err != nil && !errors.Is(err, sensing.ErrTooOld) {
			problems = append(problems, err.Error())
			continue
		}
		if err != nil {
			notes = append(notes, err.Error())
			continue
		}
		taken = append(taken, v)
		next[name] = added
		if note != "" {
			notes = append(notes, name+": "+note)
		}
	}
	if len(p.GetValues()) == 0 {
		problems = append(problems, "there is no reading in it")
	}
	if len(problems) > 0 {
		r := refuse(epu.Invalid, "push to", string(c.pool), strings.Join(problems, "; "))
		r.Problems = problems
		r.Err.Try = "epumgmt sensor list " + string(c.pool) + " lists the sensors; the pool's file defines them"
		tx.Answer(r)
		return
	}
	for name, s := range next {
		c.read(c.sensors[name], s, tx.Now())
	}
	for _, v := range taken {
		c.auditPush(tx, m, v)
	}
	text := fmt.Sprintf("%s has %d new readings", c.pool, len(taken))
	switch len(taken) {
	case 0:
		text = string(c.pool) + " has no new reading"
	case 1:
		text = string(c.pool) + " has a new reading"
	}
	if len(notes) > 0 {
		text += "; " + strings.Join(notes, "; ")
	}
	tx.Answer(&msg.Done{Changed: len(taken) > 0, Text: text})
}

// unpushable says what is wrong with a reading for a sensor; nil is no sensor of the pool.
func (c *Controller) unpushable(v *msg.SensorValue, s *sensorState) string {
	name := v.GetSensor()
	switch {
	case s == nil:
		return fmt.Sprintf("the pool has no sensor %q; it has %s", name, c.sensorNames())
	case s.spec.Source.Pulled():
		return fmt.Sprintf("the node itself fetches sensor %s (source %s): nothing is pushed to it", name, s.spec.Source)
	case v.Value == nil && !v.GetUnknown():
		return fmt.Sprintf("the reading of %s says neither a value nor that it is unknown", name)
	case v.Value != nil && v.GetUnknown():
		return fmt.Sprintf("the reading of %s has a value and says that it is unknown", name)
	case len(v.GetSource()) > sourceNameMax:
		return fmt.Sprintf("the name of a source of sensor %s is longer than %d bytes", name, sourceNameMax)
	}
	return ""
}

// pusher is who sends readings to a sensor.
type pusher struct{ user, host, source string }

// Bounds of the records of who pushes.
const (
	pushRecordEvery = 10 * time.Minute // of the same sender, however often others come between
	pushersMax      = 16               // that are told apart at once
)

// auditPush records who sends a sensor's reading when that is somebody else than before: readings decide about
// machines, but a record of each would fill the history.
func (c *Controller) auditPush(tx *Tx, m msg.Command, v *msg.SensorValue) {
	s, host := c.sensors[v.GetSensor()], m.From
	if at, err := netip.ParseAddrPort(m.From); err == nil { // each connection has another port
		host = at.Addr().String()
	}
	by := pusher{m.User, host, v.GetSource()}
	if s.pushedBy == by {
		return
	}
	s.pushedBy = by
	if at, known := s.recorded[by]; known && tx.Now().Sub(at) < pushRecordEvery {
		return
	}
	if s.recorded == nil || len(s.recorded) >= pushersMax {
		s.recorded = map[pusher]time.Time{}
	}
	s.recorded[by] = tx.Now()
	data := map[string]any{"sensor": v.GetSensor(), "source": v.GetSource()}
	if v.Value != nil {
		data["value"] = v.GetValue()
	}
	c.audit(tx, m, "sensor_pushed", data)
}

// faultMax bounds what a source says of an unknown reading, in bytes.
const faultMax = 300

// faultText is why a pushed reading is unknown.
func faultText(v *msg.SensorValue) string {
	if !v.GetUnknown() {
		return ""
	}
	text := strings.Join(strings.Fields(strings.ToValidUTF8(v.GetError(), "?")), " ")
	return strings.ToValidUTF8(text[:min(len(text), faultMax)], "")
}

func (c *Controller) sensorNames() string {
	if len(c.sensors) == 0 {
		return "none"
	}
	return strings.Join(slices.Sorted(maps.Keys(c.sensors)), ", ")
}

// readings are the sensors' values at a moment, and their windows. Both stay as they are: series never
// change.
func (c *Controller) readings(now time.Time) (map[string]epu.Reading, func(string, time.Duration) (epu.Window, bool)) {
	if len(c.sensors) == 0 {
		return nil, nil
	}
	read, series := make(map[string]epu.Reading, len(c.sensors)), make(map[string]sensing.Series, len(c.sensors))
	for name, s := range c.sensors {
		read[name], series[name] = s.series.Reading(now), s.series
	}
	return read, func(name string, span time.Duration) (epu.Window, bool) {
		s, ok := series[name]
		if !ok {
			return epu.Window{}, false
		}
		return s.Window(now, span)
	}
}

// watchSensors notes since when sensors can't be relied upon, for alerts.
func (c *Controller) watchSensors(now time.Time) {
	for _, s := range c.sensors {
		switch q := s.series.Raw(now).Quality; {
		case q == epu.QualityOK || q == epu.QualityWarming:
			s.bad = time.Time{}
		case s.bad.IsZero():
			s.bad = now
		}
	}
}

// sensorViews are the sensors' values for people and alerts.
func (c *Controller) sensorViews(now time.Time) []msg.SensorView {
	c.watchSensors(now)
	var out []msg.SensorView
	for _, name := range slices.Sorted(maps.Keys(c.sensors)) {
		s := c.sensors[name]
		out = append(out, msg.SensorView{Reading: s.series.Raw(now), Fault: s.series.Fault(), BadSince: s.bad})
	}
	return out
}

// sensorStatus answers a question about the pool's sensors.
func (c *Controller) sensorStatus(now time.Time) *msg.Sensors {
	out := &msg.Sensors{}
	for _, name := range slices.Sorted(maps.Keys(c.sensors)) {
		s := c.sensors[name]
		r := s.series.Raw(now)
		st := &msg.SensorStatus{
			Pool: string(c.pool), Sensor: name, Source: string(s.spec.Source), Unit: s.spec.Unit, Quality: string(r.Quality),
			Value: r.Value, Every: durationpb.New(s.spec.Every), Missing: missingText(s.spec), Error: s.series.Fault(),
		}
		if !r.Time.IsZero() {
			st.Time, st.Age = timestamppb.New(r.Time), durationpb.New(r.Age)
		}
		for _, p := range s.series.Recent(now, recentMax) {
			st.Recent = append(st.Recent, &msg.Sample{Time: timestamppb.New(p.Time), Value: p.Value, Unknown: p.Unknown})
		}
		if len(st.Recent) == 0 && st.Error == "" && !s.spec.Source.Pulled() {
			st.Error = "nothing has been sent to it yet"
		}
		out.Sensors = append(out.Sensors, st)
	}
	return out
}

func missingText(s epu.SensorSpec) string {
	switch s.Missing {
	case epu.MissingLast:
		return "last " + s.MaxAge.String()
	case epu.MissingFallback:
		return "fallback " + strconv.FormatFloat(s.Value, 'g', -1, 64)
	}
	return string(epu.MissingHold)
}
