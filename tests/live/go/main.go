// Member is franz-go's consumer as a member of a group.
//
// usage: member BROKERS GROUP TOPIC BALANCER
//
// It reads from the earliest offset on, and commits what it has written down: each record as a line of
// topic, partition, offset and value with 0x1f between. Its assignment is told on stderr. On SIGTERM it
// commits, leaves the group and ends.
package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

var balancers = map[string]kgo.GroupBalancer{
	"range":              kgo.RangeBalancer(),
	"roundrobin":         kgo.RoundRobinBalancer(),
	"sticky":             kgo.StickyBalancer(),
	"cooperative-sticky": kgo.CooperativeStickyBalancer(),
}

func main() {
	if len(os.Args) != 5 || balancers[os.Args[4]] == nil {
		fmt.Fprintln(os.Stderr, "usage: member BROKERS GROUP TOPIC BALANCER")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2], os.Args[3], balancers[os.Args[4]]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(brokers, group, topic string, balancer kgo.GroupBalancer) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	client, err := kgo.NewClient(
		kgo.SeedBrokers(strings.Split(brokers, ",")...),
		kgo.ConsumerGroup(group),
		kgo.ConsumeTopics(topic),
		kgo.Balancers(balancer),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.SessionTimeout(6*time.Second),
		kgo.HeartbeatInterval(300*time.Millisecond),
		// A record that is polled is written down before a rebalance takes its partition away.
		kgo.BlockRebalanceOnPoll(),
		kgo.DisableAutoCommit(),
		kgo.OnPartitionsAssigned(tell("assigned")),
		kgo.OnPartitionsRevoked(tell("revoked")),
		kgo.OnPartitionsLost(tell("lost")),
	)
	if err != nil {
		return err
	}
	defer client.Close()
	out := bufio.NewWriter(os.Stdout)
	for ctx.Err() == nil {
		fetches := client.PollFetches(ctx)
		for _, failed := range fetches.Errors() {
			if ctx.Err() == nil {
				fmt.Fprintln(os.Stderr, "error:", failed.Topic, failed.Partition, failed.Err)
			}
		}
		fetches.EachRecord(func(one *kgo.Record) {
			fmt.Fprintf(out, "%s\x1f%d\x1f%d\x1f%s\n", one.Topic, one.Partition, one.Offset, one.Value)
		})
		if err := out.Flush(); err != nil {
			return err
		}
		if err := client.CommitUncommittedOffsets(context.Background()); err != nil {
			fmt.Fprintln(os.Stderr, "error: commit:", err)
		}
		client.AllowRebalance()
	}
	return client.LeaveGroupContext(context.Background())
}

// A line such as "assigned 0 3".
func tell(what string) func(context.Context, *kgo.Client, map[string][]int32) {
	return func(_ context.Context, _ *kgo.Client, topics map[string][]int32) {
		line := what
		for _, partitions := range topics {
			for _, partition := range partitions {
				line += fmt.Sprint(" ", partition)
			}
		}
		fmt.Fprintln(os.Stderr, line)
	}
}
