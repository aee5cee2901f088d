package upkeep

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"syscall"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/persistence/badger"
)

// ErrNobody: no node answers on the folder.
var ErrNobody = errors.New("no node answers")

// Client asks the node that runs on a data folder.
type Client struct {
	dataDir string
	http    *http.Client
}

// NewClient makes a client; whether a node answers shows with the first question.
func NewClient(dataDir string) *Client {
	return &Client{dataDir: dataDir, http: &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			at, err := reach(dataDir)
			if err != nil {
				return nil, err
			}
			defer at.Close()
			return (&net.Dialer{}).DialContext(ctx, "unix", at.socket)
		},
	}}}
}

// Check has the node check its store.
func (c *Client) Check(ctx context.Context) (r badger.Report, err error) {
	err = c.ask(ctx, "check journal", "/check", func(body io.Reader) error { return json.NewDecoder(body).Decode(&r) })
	return r, err
}

// Dump has the node print the streams whose name begins with prefix as JSON lines.
func (c *Client) Dump(ctx context.Context, w io.Writer, prefix string) error {
	return c.ask(ctx, "dump journal", "/dump?prefix="+url.QueryEscape(prefix), copyTo(w))
}

// Backup has the node write its store as an archive.
func (c *Client) Backup(ctx context.Context, w io.Writer) error {
	return c.ask(ctx, "back up journal", "/backup", copyTo(w))
}

func copyTo(w io.Writer) func(io.Reader) error {
	return func(body io.Reader) error { _, err := io.Copy(w, body); return err }
}

// ask reads one answer to its verdict. Without one the answer was cut: the node was stopped meanwhile.
func (c *Client) ask(ctx context.Context, op, path string, take func(io.Reader) error) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://node"+path, nil)
	if err != nil {
		return epu.E(epu.Internal, op, c.dataDir, err)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) {
			err = fmt.Errorf("%w: %w", ErrNobody, err)
		}
		return epu.E(epu.Unavailable, op, c.dataDir, fmt.Errorf("ask the running node: %w", err))
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return epu.E(epu.Unavailable, op, c.dataDir, fmt.Errorf("the running node is of another version: it answers %s", resp.Status))
	}
	taken := take(resp.Body)
	if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.Trailer.Get(verdictDone) == "" {
		if taken == nil || errors.Is(taken, io.ErrUnexpectedEOF) {
			taken = errors.New("the answer was cut: the node was stopped")
		}
		return epu.E(epu.Unavailable, op, c.dataDir, taken)
	}
	if text := resp.Trailer.Get(verdictText); text != "" {
		if plain, err := strconv.Unquote(text); err == nil {
			text = plain
		}
		return &epu.Error{Kind: kindOf(resp.Trailer.Get(verdictKind)), Err: errors.New(text)} // says what failed, on what
	}
	if taken != nil {
		return epu.E(epu.Unavailable, op, c.dataDir, taken)
	}
	return nil
}

// kindOf finds the kind with a name.
func kindOf(name string) epu.Kind {
	for k := epu.Internal; k <= epu.Unavailable; k++ {
		if k.String() == name {
			return k
		}
	}
	return epu.Internal
}
