package sensor

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/internal/secret"
)

const (
	bodyBytesMax = 1 << 20
	idleConnsMax = 16 // to one server, which many pools may ask
)

// answer is what a server said.
type answer struct {
	status int
	body   []byte
}

// get asks a server. Its errors name neither the query, where people put tokens, nor any header.
func (p *Puller) get(ctx context.Context, address *url.URL, q epu.SensorQuery) (answer, error) {
	on := place(address)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address.String(), nil)
	if err != nil {
		return answer{}, epu.E(epu.Invalid, "ask", on, errors.New("the address is none that can be asked"))
	}
	req.Header.Set("Accept", "application/json")
	for name, v := range q.Headers {
		value, err := secret.Read(v, p.getenv)
		if err != nil {
			return answer{}, fmt.Errorf("ask %s: header %s: %w", on, name, err)
		}
		req.Header.Set(name, value)
	}
	if q.BearerToken != (epu.Var{}) {
		token, err := secret.Read(q.BearerToken, p.getenv)
		if err != nil {
			return answer{}, fmt.Errorf("ask %s: bearer token: %w", on, err)
		}
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := p.http.Do(req)
	if err != nil {
		return answer{}, unreachable(on, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, bodyBytesMax+1))
	switch {
	case err != nil:
		return answer{}, epu.E(epu.Unavailable, "ask", on, errors.New("the answer broke off"))
	case len(body) > bodyBytesMax:
		return answer{}, epu.E(epu.Invalid, "ask", on, fmt.Errorf("the answer is larger than %d bytes", bodyBytesMax))
	}
	return answer{status: resp.StatusCode, body: body}, nil
}

// place is an address without what may be secret in it.
func place(u *url.URL) string {
	on := url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path, RawPath: u.RawPath}
	return on.String() // puts the slash between host and path, which a joined path may lack
}

// unreachable is a request that got no answer.
func unreachable(on string, err error) error {
	var outer *url.Error
	if errors.As(err, &outer) {
		err = outer.Err // says the whole address
	}
	e := &epu.Error{Kind: epu.Unavailable, Op: "ask", On: on, Err: err}
	var unknown *tls.CertificateVerificationError
	if errors.As(err, &unknown) {
		e.Kind, e.Try = epu.Denied, "have the node's machine trust the server's authority"
	}
	return e
}

// refused is an answer that is no success; what names the reason that the server gave, if any.
func (a answer) refused(on, what string) error {
	if a.status/100 == 2 {
		return nil
	}
	text := fmt.Sprintf("the server answers %d %s", a.status, http.StatusText(a.status))
	if what != "" {
		text += ": " + oneLine(what, 200)
	}
	e := &epu.Error{Kind: epu.Unavailable, Op: "ask", On: on, Err: errors.New(text)}
	switch {
	case a.status/100 == 3:
		e.Kind, e.Try = epu.Invalid, "give the address that it redirects to; redirects are not followed"
	case slices.Contains([]int{http.StatusUnauthorized, http.StatusForbidden, http.StatusProxyAuthRequired}, a.status):
		e.Kind, e.Try = epu.Denied, "check the sensor's bearer_token or headers"
	case a.status == http.StatusNotFound || a.status == http.StatusGone:
		e.Kind = epu.NotFound
	case a.status == http.StatusTooManyRequests:
		e.Kind = epu.Throttled
	case a.status/100 == 4 && a.status != http.StatusRequestTimeout:
		e.Kind = epu.Invalid
	}
	return e
}
