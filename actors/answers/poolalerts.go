package answers

import (
	"fmt"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors/msg"
)

// Patience before an alert, and how long one stands for what is over.
const (
	sensorBadFor  = time.Minute
	hookFaultsFor = time.Hour
)

// PoolAlerts are what an operator should look at in one pool, beyond what its status says.
func PoolAlerts(v msg.PoolView, now time.Time) []*msg.Alert {
	var out []*msg.Alert
	pool := string(v.Spec.Name)
	for _, s := range v.Sensors {
		if s.BadSince.IsZero() || now.Sub(s.BadSince) < sensorBadFor {
			continue
		}
		text := fmt.Sprintf("sensor %s is %s", s.Reading.Sensor, s.Reading.Quality)
		if s.Fault != "" {
			text += ": " + s.Fault
		} else if s.Reading.Time.IsZero() {
			text += ": no reading has come"
		}
		out = append(out, &msg.Alert{
			Code: string(msg.AlertSensor), Severity: "warning", Subject: pool, Since: timestamppb.New(s.BadSince), Text: text + "; the pool does not shrink because of it",
			Try: "epumgmt explain " + pool,
		})
	}
	living := map[epu.WorkerID]bool{}
	for _, w := range v.Workers {
		living[w.ID] = true
	}
	for _, f := range v.Faults {
		if !living[f.Worker] && now.Sub(f.Time) > hookFaultsFor {
			continue
		}
		out = append(out, &msg.Alert{
			Code: string(msg.AlertHook), Severity: "warning", Subject: pool, Since: timestamppb.New(f.Time),
			Text: fmt.Sprintf("the %s hook of %s was given up: %s", f.Hook, f.Worker, f.Error),
			Try:  "do by hand what it does, then epumgmt apply -f FILE of the pool with the hook mended",
		})
	}
	if v.Last != nil && v.Failure == "" {
		for _, text := range v.Last.Alerts {
			out = append(out, &msg.Alert{
				Code: string(msg.AlertPolicy), Severity: "warning", Subject: pool, Since: timestamppb.New(v.AlertingSince), Text: "the policy says: " + text, Try: "epumgmt explain " + pool,
			})
		}
	}
	return out
}
