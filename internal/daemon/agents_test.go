package daemon_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors/msg"
	"github.com/nimbus-epu/epu/cluster/identity"
)

// Goal: an agent is told that its worker is gone, and stops its programs, only when the store surely knows:
// never for a worker of another life of the store. Method: beats of workers that no pool has.
func TestAgentsOfAnotherEpochAreNotTurnedAway(t *testing.T) {
	dir := t.TempDir()
	r := start(t, dir)
	defer r.stop(t)
	none := strings.Replace(files, "preserve_n: 2", "preserve_n: 0", 1) // real workers would outlive the node
	ask[*msg.Applied](t, r, &msg.Apply{Files: []*msg.File{{Path: "files.yaml", Content: []byte(none)}}})
	signer, err := identity.Open(filepath.Join(dir, "worker-tokens.key"))
	if err != nil {
		t.Fatal(err)
	}
	node := ask[*msg.Status](t, r, &msg.StatusQuery{}).GetNodes()[0]
	for worker, want := range map[epu.WorkerID]int{
		"epu-test-1-999/0": http.StatusGone, "epu-test-7-1/0": http.StatusServiceUnavailable, "epu-none-1-1/0": http.StatusGone,
	} {
		launch, _, _ := worker.Parse()
		pool, _, _, _ := launch.Parse()
		body, err := json.Marshal(msg.Beat{Worker: worker, Instance: "i-1", State: "OK"})
		if err != nil {
			t.Fatal(err)
		}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+r.node.HTTPAddress()+"/v1/agent/beat", bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+signer.Worker(epu.InstallationID(node.GetInstallation()), epu.DefaultOwner, pool, worker))
		req.Header.Set("Content-Type", "application/json")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("the beat of %s is answered with %d, want %d", worker, resp.StatusCode, want)
		}
	}
}
