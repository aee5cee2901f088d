package aws

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/nimbus-epu/epu"
)

// attemptsMax bounds the library's own repetitions of one pull: the next pull comes anyway.
const attemptsMax = 2

// accountsMax bounds the clients that are kept, one for each region, profile and endpoint.
const accountsMax = 64

// account is what makes one client different from another.
type account struct{ region, profile, endpoint string }

// Puller asks services of AWS. It may be used by many goroutines.
type Puller struct {
	now func() time.Time

	mu       sync.Mutex // guards what follows: clients are shared by all sensors of an account
	accounts map[account]*clients
}

// clients are those of one account.
type clients struct {
	sqs        *sqs.Client
	cloudwatch *cloudwatch.Client

	mu   sync.Mutex // guards urls
	urls map[string]string
}

// New makes a Puller. now says which time span a metric is asked for.
func New(now func() time.Time) *Puller {
	return &Puller{now: now, accounts: map[account]*clients{}}
}

// clients makes or finds the clients for a query.
func (p *Puller) clients(ctx context.Context, q epu.SensorQuery) (*clients, error) {
	key := account{q.Region, q.Profile, q.Endpoint}
	p.mu.Lock()
	c := p.accounts[key]
	p.mu.Unlock()
	if c != nil {
		return c, nil
	}
	// The library brings its own HTTP client, because AWS_CA_BUNDLE works with no other.
	options := []func(*config.LoadOptions) error{config.WithRetryMaxAttempts(attemptsMax)}
	if q.Region != "" {
		options = append(options, config.WithRegion(q.Region))
	}
	if q.Profile != "" {
		options = append(options, config.WithSharedConfigProfile(q.Profile))
	}
	conf, err := config.LoadDefaultConfig(ctx, options...)
	if err != nil {
		return nil, &epu.Error{Kind: epu.Invalid, Op: "read", On: "the configuration of AWS", Err: err, Try: "check the sensor's aws_profile and the node's AWS files"}
	}
	if conf.Region == "" {
		return nil, &epu.Error{Kind: epu.Invalid, Op: "find", On: "the region", Err: errors.New("neither the sensor nor the configuration of AWS names one"), Try: "give the sensor a region: us-east-1"}
	}
	c = &clients{
		sqs:        sqs.NewFromConfig(conf, func(o *sqs.Options) { o.BaseEndpoint = endpoint(q) }),
		cloudwatch: cloudwatch.NewFromConfig(conf, func(o *cloudwatch.Options) { o.BaseEndpoint = endpoint(q) }),
		urls:       map[string]string{},
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.accounts) >= accountsMax {
		clear(p.accounts) // they cost a look at the configuration, no more
	}
	p.accounts[key] = c
	return c, nil
}

// endpoint is where the service is, or nil for Amazon's own.
func endpoint(q epu.SensorQuery) *string {
	if q.Endpoint == "" {
		return nil
	}
	return aws.String(q.Endpoint)
}

// classified gives an error of the library a kind and words.
func classified(op, on string, err error) error {
	e := &epu.Error{Kind: epu.Unavailable, Op: op, On: on, Err: reason(err)}
	var api smithy.APIError
	var answer *smithyhttp.ResponseError
	switch {
	case errors.As(err, &api):
		e.Kind = kindOf(api.ErrorCode())
		if e.Kind == epu.Internal {
			e.Kind = epu.Unavailable
			if errors.As(err, &answer) && answer.HTTPStatusCode()/100 == 4 {
				e.Kind = epu.Invalid
			}
		}
	case strings.Contains(err.Error(), "credentials"):
		e.Kind = epu.Denied
	}
	if e.Kind == epu.Denied {
		e.Try = "check the node's AWS credentials and what they may do"
	}
	return e
}

// kindOf sorts the codes that AWS answers with; Internal for others.
func kindOf(code string) epu.Kind {
	code = strings.TrimPrefix(code, "AWS.SimpleQueueService.")
	switch code {
	case "NonExistentQueue", "QueueDoesNotExist", "ResourceNotFoundException", "ResourceNotFound":
		return epu.NotFound
	case "Throttling", "ThrottlingException", "RequestThrottled", "TooManyRequestsException", "RequestLimitExceeded":
		return epu.Throttled
	case "AccessDenied", "AccessDeniedException", "UnrecognizedClientException", "InvalidClientTokenId", "SignatureDoesNotMatch",
		"ExpiredToken", "ExpiredTokenException", "InvalidSecurity", "MissingAuthenticationToken", "NotAuthorized", "OptInRequired":
		return epu.Denied
	case "InternalFailure", "InternalServiceFault", "InternalError", "ServiceUnavailable":
		return epu.Unavailable
	}
	return epu.Internal
}

// reason is an error's core: the library wraps it in half a dozen layers for programmers.
func reason(err error) error {
	var api smithy.APIError
	if errors.As(err, &api) {
		return fmt.Errorf("AWS answers %s: %s", api.ErrorCode(), api.ErrorMessage())
	}
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return err
		}
		err = inner
	}
}
