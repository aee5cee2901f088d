package persistence

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"

	"github.com/nimbus-epu/epu"
)

// ErrNewer marks an event that this version of EPU can't read, because a newer one wrote it.
var ErrNewer = errors.New("written by a newer version of EPU")

const tryNewer = "a newer version of EPU wrote this: start that version, or restore a backup from before the upgrade"

// Codec maps an actor's event structs to stored events and back. It is set up once with Register and
// Upgrade, by one goroutine; after that any number of goroutines may use it.
type Codec struct {
	byName map[string]*eventType
	byGo   map[reflect.Type]*eventType
}

type eventType struct {
	name     string
	v        int
	decode   func(data []byte) (any, error)
	upgrades map[int]func(json.RawMessage) (json.RawMessage, error) // from a version to the next
}

// NewCodec makes a codec that knows no types.
func NewCodec() *Codec {
	return &Codec{byName: map[string]*eventType{}, byGo: map[reflect.Type]*eventType{}}
}

// Register makes struct T the Go form of events of that type, whose newest version is v (from 1). A
// version is raised only when a field changes its meaning: new fields need none, since unknown fields
// are tolerated and absent ones are zero. Registering a name or a Go type twice panics.
func Register[T any](c *Codec, name string, v int) {
	t := reflect.TypeFor[T]()
	switch {
	case t.Kind() != reflect.Struct:
		panic(fmt.Sprintf("persistence: event %q must be a struct, not %v", name, t))
	case name == "" || v < 1:
		panic(fmt.Sprintf("persistence: event %v needs a name and a version from 1, got %q version %d", t, name, v))
	case c.byName[name] != nil:
		panic(fmt.Sprintf("persistence: event name %q registered twice", name))
	case c.byGo[t] != nil:
		panic(fmt.Sprintf("persistence: event type %v registered twice", t))
	}
	e := &eventType{
		name: name, v: v,
		decode: func(data []byte) (any, error) {
			var ev T
			if len(data) == 0 {
				return ev, nil
			}
			err := json.Unmarshal(data, &ev)
			return ev, err
		},
		upgrades: map[int]func(json.RawMessage) (json.RawMessage, error){},
	}
	c.byName[name], c.byGo[t] = e, e
}

// Upgrade tells the codec how data of version from of a registered type becomes version from+1.
// Stored events are never rewritten: they are upgraded each time they are read. up must not change
// what it is given.
func (c *Codec) Upgrade(name string, from int, up func(json.RawMessage) (json.RawMessage, error)) {
	e := c.byName[name]
	switch {
	case e == nil:
		panic(fmt.Sprintf("persistence: upgrade of event %q, which is not registered", name))
	case from < 1 || from >= e.v:
		panic(fmt.Sprintf("persistence: upgrade of event %q from version %d, but the newest is %d", name, from, e.v))
	case e.upgrades[from] != nil:
		panic(fmt.Sprintf("persistence: upgrade of event %q from version %d registered twice", name, from))
	}
	e.upgrades[from] = up
}

// Types lists the registered names in alphabetical order.
func (c *Codec) Types() []string {
	names := make([]string, 0, len(c.byName))
	for n := range c.byName {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}

// Encode makes the stored form of an event struct (a value, not a pointer). It fills Type, V and
// Data; ID, Time and Cause are the caller's.
func (c *Codec) Encode(ev any) (Event, error) {
	e := c.byGo[reflect.TypeOf(ev)]
	if e == nil {
		return Event{}, epu.E(epu.Internal, "encode event", fmt.Sprintf("%T", ev), errors.New("type not registered"))
	}
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(ev); err != nil {
		return Event{}, epu.E(epu.Internal, "encode event", e.name, err)
	}
	return Event{Type: e.name, V: e.v, Data: bytes.TrimSuffix(buf.Bytes(), []byte("\n"))}, nil
}

// Decode gives the struct value of a stored event, upgraded to its newest version. An unknown type
// and a version above the registered one are refused with ErrNewer: guessing at facts would lose them.
func (c *Codec) Decode(stored Event) (any, error) {
	on := fmt.Sprintf("%q version %d", stored.Type, stored.V)
	e := c.byName[stored.Type]
	if e == nil {
		return nil, &epu.Error{Kind: epu.Invalid, Op: "read event", On: on, Err: fmt.Errorf("unknown type, %w", ErrNewer), Try: tryNewer}
	}
	if stored.V > e.v {
		return nil, &epu.Error{
			Kind: epu.Invalid, Op: "read event", On: on,
			Err: fmt.Errorf("this version reads up to version %d, %w", e.v, ErrNewer), Try: tryNewer,
		}
	}
	data := stored.Data
	for v := stored.V; v < e.v; v++ {
		up := e.upgrades[v]
		if up == nil {
			return nil, epu.E(epu.Internal, "read event", on, fmt.Errorf("no upgrade from version %d", v))
		}
		var err error
		if data, err = up(data); err != nil {
			return nil, epu.E(epu.Internal, "read event", on, fmt.Errorf("upgrade from version %d: %w", v, err))
		}
	}
	ev, err := e.decode(data)
	if err != nil {
		return nil, epu.E(epu.Internal, "read event", on, err)
	}
	return ev, nil
}
