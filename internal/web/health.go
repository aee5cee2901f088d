package web

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/internal/document"
)

// healthz says that the process serves, and looks at nothing: who restarts a node because a cloud is
// slow makes it worse.
func (h *Handler) healthz(w http.ResponseWriter, _ *http.Request) {
	h.write(w, http.StatusOK, textType, []byte("ok\n"))
}

// ready is the JSON form of /readyz.
type ready struct {
	Ready      bool        `json:"ready"`
	Conditions []Condition `json:"conditions"`
}

// readyz says whether the node can do its work, and if not each reason on a line.
func (h *Handler) readyz(w http.ResponseWriter, r *http.Request) {
	answer := ready{Ready: !h.draining(), Conditions: []Condition{}}
	var lines strings.Builder
	if h.draining() {
		answer.Conditions = append(answer.Conditions, Condition{Name: "node", Text: "is stopping"})
		lines.WriteString("node: is stopping\n")
	}
	for _, c := range h.o.Ready(r.Context()) {
		answer.Conditions = append(answer.Conditions, c)
		if c.OK {
			continue
		}
		answer.Ready = false
		fmt.Fprintf(&lines, "%s: %s", oneLine(c.Name), oneLine(c.Text))
		if c.Try != "" {
			fmt.Fprintf(&lines, "; try: %s", oneLine(c.Try))
		}
		lines.WriteByte('\n')
	}
	status := http.StatusOK
	if !answer.Ready {
		status = http.StatusServiceUnavailable
	}
	switch format := r.URL.Query().Get("format"); format {
	case "":
		if answer.Ready {
			lines.WriteString("ready\n")
		}
		h.write(w, status, textType, []byte(lines.String()))
	case "json":
		data, err := json.Marshal(answer)
		if err == nil {
			data, err = document.Encode("ready", json.RawMessage(data))
		}
		if err != nil {
			h.fail(w, epu.E(epu.Internal, "answer", "/readyz", err))
			return
		}
		h.write(w, status, jsonType, append(data, '\n'))
	default:
		h.fail(w, epu.E(epu.Invalid, "read the request", "", errors.New("format is not json")))
	}
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }
