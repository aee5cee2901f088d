package aws

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/nimbus-epu/epu"
)

// SQS reads how many messages a queue has: visible ones, those in flight, delayed ones, or all.
// Amazon's numbers are approximate for about a minute after traffic stops.
func (p *Puller) SQS(ctx context.Context, q epu.SensorQuery) (float64, error) {
	names, err := attributes(q.Count)
	if err != nil {
		return 0, err
	}
	c, err := p.clients(ctx, q)
	if err != nil {
		return 0, err
	}
	on := q.Queue
	if on == "" {
		on = q.URL
	}
	address, err := c.address(ctx, q)
	if err != nil {
		return 0, classified("find the queue", on, err)
	}
	out, err := c.sqs.GetQueueAttributes(ctx, &sqs.GetQueueAttributesInput{QueueUrl: aws.String(address), AttributeNames: names})
	if err != nil {
		err = classified("read the queue", on, err)
		if epu.KindOf(err) == epu.NotFound {
			c.forget(q.Queue) // made anew, it may have another address
		}
		return 0, err
	}
	sum := 0.0
	for _, name := range names {
		n, err := strconv.ParseUint(out.Attributes[string(name)], 10, 53)
		if err != nil {
			return 0, epu.E(epu.Unavailable, "read the queue", on, fmt.Errorf("the answer has no number %s", name))
		}
		sum += float64(n)
	}
	return sum, nil
}

// attributes are what a count is the sum of.
func attributes(count string) ([]types.QueueAttributeName, error) {
	const (
		visible = types.QueueAttributeNameApproximateNumberOfMessages
		flying  = types.QueueAttributeNameApproximateNumberOfMessagesNotVisible
		delayed = types.QueueAttributeNameApproximateNumberOfMessagesDelayed
	)
	switch count {
	case "visible", "":
		return []types.QueueAttributeName{visible}, nil
	case "in-flight":
		return []types.QueueAttributeName{flying}, nil
	case "delayed":
		return []types.QueueAttributeName{delayed}, nil
	case "total":
		return []types.QueueAttributeName{visible, flying, delayed}, nil
	}
	return nil, &epu.Error{Kind: epu.Invalid, Op: "count", On: count, Err: errors.New("no such number of a queue"), Try: "one of visible, in-flight, delayed, total"}
}

// address is the queue's URL, looked up once by its name if the sensor does not give it.
func (c *clients) address(ctx context.Context, q epu.SensorQuery) (string, error) {
	if q.URL != "" {
		return q.URL, nil
	}
	c.mu.Lock()
	known := c.urls[q.Queue]
	c.mu.Unlock()
	if known != "" {
		return known, nil
	}
	out, err := c.sqs.GetQueueUrl(ctx, &sqs.GetQueueUrlInput{QueueName: aws.String(q.Queue)})
	if err != nil {
		return "", err
	}
	found := aws.ToString(out.QueueUrl)
	c.mu.Lock()
	c.urls[q.Queue] = found
	c.mu.Unlock()
	return found, nil
}

func (c *clients) forget(queue string) {
	c.mu.Lock()
	delete(c.urls, queue)
	c.mu.Unlock()
}
