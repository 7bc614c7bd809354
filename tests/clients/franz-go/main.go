// franz-go against one cluster.
//
// Arguments: bootstrap servers, the name of a scenario, a prefix for every name it uses.
// Panics at the first thing that is not as Kafka has it.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// For a whole scenario, on a machine busy with other things.
const waitMax = 240 * time.Second

var (
	bootstrap, prefix string
	ctx               context.Context
	scenarios         = map[string]func(){
		"codecs": codecs, "admin": admin, "offsets": offsets, "group": group,
		"transactions": transactions, "copies": copies,
	}
)

func main() {
	bootstrap, prefix = os.Args[1], os.Args[3]
	var cancel context.CancelFunc
	ctx, cancel = context.WithTimeout(context.Background(), waitMax)
	defer cancel()
	scenarios[os.Args[2]]()
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}

func must[T any](value T, err error) T {
	check(err)
	return value
}

func equal(what string, found, expected any) {
	if !reflect.DeepEqual(found, expected) {
		panic(fmt.Sprintf("%s: %v, expected %v", what, found, expected))
	}
}

// Waits until a change is everywhere.
func eventually(what string, isSo func() bool) {
	for !isSo() {
		check(ctx.Err())
		time.Sleep(20 * time.Millisecond)
	}
}

func client(opts ...kgo.Opt) *kgo.Client {
	seeds := kgo.SeedBrokers(strings.Split(bootstrap, ",")...)
	return must(kgo.NewClient(append([]kgo.Opt{seeds}, opts...)...))
}

func administrator() *kadm.Client { return kadm.NewClient(client()) }

func create(topic string, partitions int32, configs map[string]*string) {
	adm := administrator()
	defer adm.Close()
	must(adm.CreateTopic(ctx, partitions, 1, configs, topic))
	eventually("leaders", func() bool {
		details := must(adm.ListTopics(ctx, topic))[topic].Partitions
		led := 0
		for _, partition := range details {
			if partition.Leader >= 0 {
				led++
			}
		}
		return led == int(partitions)
	})
}

func records(topic string, partition int32, count int, label string) (made []*kgo.Record) {
	for i := range count {
		made = append(made, &kgo.Record{
			Topic: topic, Partition: partition, Timestamp: time.UnixMilli(1_700_000_000_000 + int64(i)),
			Key:   []byte(fmt.Sprintf("key %d", i)),
			Value: []byte(strings.Repeat(fmt.Sprintf("%s %d ", label, i), 20)),
			Headers: []kgo.RecordHeader{
				{Key: "number", Value: []byte(fmt.Sprint(i))}, {Key: "null", Value: nil},
			},
		})
	}
	return made
}

func producer(opts ...kgo.Opt) *kgo.Client {
	return client(append(opts, kgo.RecordPartitioner(kgo.ManualPartitioner()))...)
}

func offsetsOf(found []*kgo.Record) (list []int64) {
	for _, record := range found {
		list = append(list, record.Offset)
	}
	return list
}

func upTo(first, end int64) (list []int64) {
	for offset := first; offset < end; offset++ {
		list = append(list, offset)
	}
	return list
}

func content(found []*kgo.Record) (list []string) {
	for _, it := range found {
		list = append(list, fmt.Sprintf("%s=%s %v %d", it.Key, it.Value, it.Headers, it.Timestamp.UnixMilli()))
	}
	return list
}

// The next records, at least so many.
func poll(from interface {
	PollRecords(context.Context, int) kgo.Fetches
}, count, atOnce int) (found []*kgo.Record) {
	for len(found) < count {
		fetches := from.PollRecords(ctx, atOnce)
		check(fetches.Err())
		found = append(found, fetches.Records()...)
	}
	return found
}

// Every record of partition 0: a last record, produced now, tells the end.
func read(topic string, isolation kgo.IsolationLevel) (found []*kgo.Record) {
	end := &kgo.Record{Topic: topic, Value: []byte("end")}
	last := producer()
	defer last.Close()
	check(last.ProduceSync(ctx, end).FirstErr())
	from := client(
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {0: kgo.NewOffset().AtStart()}}),
		kgo.FetchIsolationLevel(isolation))
	defer from.Close()
	for {
		for _, record := range poll(from, 1, 1000) {
			if record.Offset == end.Offset {
				return found
			}
			if string(record.Value) != "end" {
				found = append(found, record)
			}
		}
	}
}

func codecs() {
	for name, codec := range map[string]kgo.CompressionCodec{
		"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(),
		"lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
	} {
		topic := prefix + "-" + name
		create(topic, 1, nil)
		expected := records(topic, 0, 200, "value")
		to := producer(kgo.ProducerBatchCompression(codec), kgo.ProducerLinger(50*time.Millisecond))
		check(to.ProduceSync(ctx, expected...).FirstErr())
		to.Close()
		found := read(topic, kgo.ReadCommitted())
		equal(name, content(found), content(expected))
		equal(name, offsetsOf(found), upTo(0, 200))
	}
}

func admin() {
	adm := administrator()
	defer adm.Close()
	compact, value := "compact", "777"
	create(prefix, 3, map[string]*string{"cleanup.policy": &compact})
	_, err := adm.CreateTopic(ctx, 3, 1, nil, prefix)
	if !errors.Is(err, kerr.TopicAlreadyExists) {
		panic(fmt.Sprintf("a topic was created twice: %v", err))
	}
	config := func(name string) string {
		described := must(must(adm.DescribeTopicConfigs(ctx, prefix)).On(prefix, nil))
		for _, config := range described.Configs {
			if config.Key == name {
				return config.MaybeValue()
			}
		}
		return "none"
	}
	equal("cleanup.policy", config("cleanup.policy"), "compact")
	change := []kadm.AlterConfig{{Op: kadm.SetConfig, Name: "retention.ms", Value: &value}}
	_, err = must(adm.AlterTopicConfigs(ctx, change, prefix)).On(prefix, nil)
	check(err)
	eventually("the change", func() bool { return config("retention.ms") == "777" })
	equal("cleanup.policy", config("cleanup.policy"), "compact")
	check(must(adm.UpdatePartitions(ctx, 5, prefix)).Error())
	topics := func() kadm.TopicDetails { return must(adm.ListTopics(ctx)) }
	eventually("5 partitions", func() bool { return len(topics()[prefix].Partitions) == 5 })
	must(adm.DeleteTopic(ctx, prefix))
	eventually("the topic to go", func() bool { return !topics().Has(prefix) })
	if len(must(adm.ListBrokers(ctx))) == 0 {
		panic("no brokers")
	}
}

// Ends, offsets by time, and records deleted.
func offsets() {
	adm := administrator()
	defer adm.Close()
	create(prefix, 1, nil)
	to := producer()
	defer to.Close()
	check(to.ProduceSync(ctx, records(prefix, 0, 10, "value")...).FirstErr())
	at := func(listed kadm.ListedOffsets, err error) int64 {
		check(err)
		offset, _ := listed.Lookup(prefix, 0)
		check(offset.Err)
		return offset.Offset
	}
	equal("end", at(adm.ListEndOffsets(ctx, prefix)), int64(10))
	equal("by time", at(adm.ListOffsetsAfterMilli(ctx, 1_700_000_000_004, prefix)), int64(4))
	cut := kadm.Offsets{}
	cut.AddOffset(prefix, 0, 7, -1)
	check(must(adm.DeleteRecords(ctx, cut)).Error())
	equal("start", at(adm.ListStartOffsets(ctx, prefix)), int64(7))
	equal("the rest", offsetsOf(read(prefix, kgo.ReadCommitted())), upTo(7, 10))
}

// Consumes a part, commits, goes on from there; then the group is described and deleted.
func group() {
	adm := administrator()
	defer adm.Close()
	create(prefix, 3, nil)
	to := producer()
	defer to.Close()
	for partition := range int32(3) {
		check(to.ProduceSync(ctx, records(prefix, partition, 20, "value")...).FirstErr())
	}
	member := func() *kgo.Client {
		return client(kgo.ConsumerGroup(prefix), kgo.ConsumeTopics(prefix), kgo.DisableAutoCommit(),
			kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	}
	first := member()
	before := poll(first, 25, 5)
	check(first.CommitRecords(ctx, before...))
	first.Close()
	second := member()
	after := poll(second, 60-len(before), 1000)
	place := func(found []*kgo.Record) (list []int64) {
		for _, it := range found {
			list = append(list, int64(it.Partition)*100+it.Offset)
		}
		slices.Sort(list)
		return list
	}
	everything := slices.Concat(upTo(0, 20), upTo(100, 120), upTo(200, 220))
	equal("records", place(append(before, after...)), everything)

	state := func() (string, int) {
		described := must(adm.DescribeGroups(ctx, prefix))[prefix]
		check(described.Err)
		return described.State, len(described.Members)
	}
	was, count := state()
	equal("state", fmt.Sprintf("%s %d", was, count), "Stable 1")
	check(second.CommitRecords(ctx, after...))
	second.Close()
	was, count = state()
	equal("state", fmt.Sprintf("%s %d", was, count), "Empty 0")
	if _, listed := must(adm.ListGroups(ctx))[prefix]; !listed {
		panic("the group is not listed")
	}
	stored := must(adm.FetchOffsets(ctx, prefix))
	for partition := range int32(3) {
		offset, _ := stored.Lookup(prefix, partition)
		equal("committed", offset.At, int64(20))
	}
	lag := must(adm.Lag(ctx, prefix))[prefix]
	check(lag.Error())
	equal("lag", lag.Lag.Total(), int64(0))

	moved := kadm.Offsets{}
	moved.AddOffset(prefix, 1, 5, -1)
	check(adm.CommitAllOffsets(ctx, prefix, moved))
	third := member()
	equal("again", place(poll(third, 15, 1000)), upTo(105, 120))
	third.Close()
	must(adm.DeleteGroup(ctx, prefix))
	if _, listed := must(adm.ListGroups(ctx))[prefix]; listed {
		panic("the group is listed")
	}
}

// Commits and aborts; readers of committed records see only those.
func transactions() {
	create(prefix, 1, nil)
	to := producer(kgo.TransactionalID(prefix))
	defer to.Close()
	run := func(label string, end kgo.TransactionEndTry) []*kgo.Record {
		made := records(prefix, 0, 10, label)
		check(to.BeginTransaction())
		check(to.ProduceSync(ctx, made...).FirstErr())
		check(to.EndTransaction(ctx, end))
		return made
	}
	dropped := run("dropped", kgo.TryAbort)
	kept := run("kept", kgo.TryCommit)
	committed := read(prefix, kgo.ReadCommitted())
	equal("committed", content(committed), content(kept))
	// Each transaction ends with a marker, which takes an offset.
	equal("offsets", offsetsOf(committed), upTo(11, 21))
	everything := read(prefix, kgo.ReadUncommitted())
	equal("uncommitted", content(everything), append(content(dropped), content(kept)...))
}

// Consumes, produces and commits the positions, in one transaction each.
func copies() {
	source, target := prefix+"-in", prefix+"-out"
	create(source, 1, nil)
	create(target, 1, nil)
	to := producer()
	defer to.Close()
	check(to.ProduceSync(ctx, records(source, 0, 30, "value")...).FirstErr())
	session := must(kgo.NewGroupTransactSession(
		kgo.SeedBrokers(strings.Split(bootstrap, ",")...), kgo.TransactionalID(prefix),
		kgo.ConsumerGroup(prefix), kgo.ConsumeTopics(source), kgo.RequireStableFetchOffsets(),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart())))
	defer session.Close()
	// The second transaction is aborted, so its records are consumed once more.
	for _, end := range []kgo.TransactionEndTry{kgo.TryCommit, kgo.TryAbort, kgo.TryCommit, kgo.TryCommit} {
		batch := poll(session, 10, 10)
		check(session.Begin())
		for _, record := range batch {
			copied := *record
			copied.Topic = target
			check(session.ProduceSync(ctx, &copied).FirstErr())
		}
		equal("ended", must(session.End(ctx, end)), bool(end))
	}
	expected := content(records(source, 0, 30, "value"))
	equal("copied", content(read(target, kgo.ReadCommitted())), expected)
	equal("with aborted", len(read(target, kgo.ReadUncommitted())), 40)
	adm := administrator()
	defer adm.Close()
	stored, _ := must(adm.FetchOffsets(ctx, prefix)).Lookup(source, 0)
	equal("committed", stored.At, int64(30))
}
