package aws

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch/types"

	"github.com/nimbus-epu/epu"
)

const (
	periodDefault = time.Minute
	periodsBack   = 5
	backMin       = 15 * time.Minute // services publish late
)

// CloudWatch reads the newest finished period of a metric, and how long ago it ended. The period that
// still runs is left out: its sum is too small until it ends.
func (p *Puller) CloudWatch(ctx context.Context, q epu.SensorQuery) (value float64, age time.Duration, err error) {
	if p.now == nil {
		return 0, 0, epu.E(epu.Internal, "read", "the metric", errors.New("nobody knows the time"))
	}
	statistic := types.Statistic(q.Statistic)
	if !slices.Contains(statistic.Values(), statistic) {
		return 0, 0, &epu.Error{Kind: epu.Invalid, Op: "read", On: "the metric " + q.Metric, Err: fmt.Errorf("%q is no statistic", q.Statistic), Try: "one of Average, Sum, SampleCount, Maximum, Minimum"}
	}
	c, err := p.clients(ctx, q)
	if err != nil {
		return 0, 0, err
	}
	period := q.Period
	if period <= 0 {
		period = periodDefault
	}
	on := q.Namespace + " " + q.Metric
	now := p.now().UTC()
	ask := &cloudwatch.GetMetricStatisticsInput{
		Namespace: aws.String(q.Namespace), MetricName: aws.String(q.Metric),
		StartTime: aws.Time(now.Add(-max(periodsBack*period, backMin)).Truncate(period)), EndTime: aws.Time(now),
		Period: aws.Int32(int32(period / time.Second)), Statistics: []types.Statistic{statistic},
	}
	for _, name := range slices.Sorted(maps.Keys(q.Dimensions)) {
		ask.Dimensions = append(ask.Dimensions, types.Dimension{Name: aws.String(name), Value: aws.String(q.Dimensions[name])})
	}
	out, err := c.cloudwatch.GetMetricStatistics(ctx, ask)
	if err != nil {
		return 0, 0, classified("read the metric", on, err)
	}
	newest, found := finished(out.Datapoints, now, period)
	if !found {
		return 0, 0, &epu.Error{
			Kind: epu.NotFound, Op: "read the metric", On: on, Err: fmt.Errorf("no period that ended since %s has data", ask.StartTime.Format(time.TimeOnly)),
			Try: "check namespace, metric, dimensions and region",
		}
	}
	of := map[types.Statistic]*float64{
		types.StatisticAverage: newest.Average, types.StatisticSum: newest.Sum, types.StatisticSampleCount: newest.SampleCount,
		types.StatisticMaximum: newest.Maximum, types.StatisticMinimum: newest.Minimum,
	}[statistic]
	if of == nil {
		return 0, 0, epu.E(epu.Unavailable, "read the metric", on, fmt.Errorf("the answer has no %s", statistic))
	}
	return *of, now.Sub(newest.Timestamp.Add(period)), nil
}

// finished is the newest datapoint whose period is over. A datapoint's time is where its period begins.
func finished(points []types.Datapoint, now time.Time, period time.Duration) (newest types.Datapoint, found bool) {
	for _, d := range points {
		if d.Timestamp == nil || d.Timestamp.Add(period).After(now) {
			continue
		}
		if !found || d.Timestamp.After(*newest.Timestamp) {
			newest, found = d, true
		}
	}
	return newest, found
}
