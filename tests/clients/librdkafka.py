"""librdkafka, through its Python package, against one cluster.

Arguments: bootstrap servers, the name of a scenario, a prefix for every name it uses.
Ends with an error at the first thing that is not as Kafka has it.
"""

import sys
import time
import uuid

from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    ConsumerGroupState,
    ConsumerGroupTopicPartitions,
    KafkaException,
    Producer,
    TopicPartition,
)
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    OffsetSpec,
    ResourceType,
)

# For what a broker is sure to do, if slowly.
WAIT_MAX_S = 120
CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]

BOOTSTRAP, SCENARIO, PREFIX = sys.argv[1:]
ADMIN = AdminClient({"bootstrap.servers": BOOTSTRAP})


def result(futures):
    """What the only future of an admin call answers; raises what the broker refuses."""
    (future,) = futures.values()
    return future.result(WAIT_MAX_S)


def eventually(what, look):
    """What `look` finds; a change is not everywhere at once."""
    deadline = time.monotonic() + WAIT_MAX_S
    while time.monotonic() < deadline:
        found = look()
        if found:
            return found
        time.sleep(0.02)
    raise AssertionError(f"waited for {what}")


def create(topic, partitions=1, config=None):
    result(ADMIN.create_topics([NewTopic(topic, partitions, 1, config=config or {})]))

    def is_led():
        described = ADMIN.list_topics(topic, timeout=WAIT_MAX_S).topics[topic]
        led = [it for it in described.partitions.values() if it.leader >= 0]
        return described.error is None and len(led) == partitions

    eventually(f"{topic} to have leaders", is_led)


def producer(**config):
    config = {name.replace("_", "."): value for name, value in config.items()}
    return Producer({"bootstrap.servers": BOOTSTRAP, **config})


def consumer(group, **config):
    config = {name.replace("_", "."): value for name, value in config.items()}
    defaults = {"bootstrap.servers": BOOTSTRAP, "group.id": group, "auto.offset.reset": "earliest"}
    return Consumer({**defaults, "enable.auto.commit": False, **config})


def produce(client, topic, records, partition=0):
    """Appends (key, value, headers); answers their offsets."""
    offsets = []

    def delivered(error, message):
        assert error is None, error
        offsets.append(message.offset())

    for at, (key, value, headers) in enumerate(records):
        stamp = 1_700_000_000_000 + at
        client.produce(
            topic, value, key, partition, on_delivery=delivered, timestamp=stamp, headers=headers
        )
    assert client.flush(WAIT_MAX_S) == 0
    return offsets


def records(count, label="value"):
    return [
        (f"key {i}".encode(), f"{label} {i} ".encode() * 20, [("number", str(i).encode()), ("null", None)])
        for i in range(count)
    ]


def poll(client, count):
    """The next `count` records."""
    found, deadline = [], time.monotonic() + WAIT_MAX_S
    while len(found) < count and time.monotonic() < deadline:
        for message in client.consume(count - len(found), 0.1):
            assert message.error() is None, message.error()
            found.append(message)
    assert len(found) == count, f"{len(found)} of {count} records"
    return found


def read(topic, count, partition=0, isolation="read_committed"):
    """The first `count` records of a partition, and that no more follow before its end."""
    client = consumer(str(uuid.uuid4()), isolation_level=isolation, enable_partition_eof=True)
    client.assign([TopicPartition(topic, partition, OFFSET_BEGINNING)])
    found, at_end, deadline = [], False, time.monotonic() + WAIT_MAX_S
    while not at_end and time.monotonic() < deadline:
        message = client.poll(0.1)
        if message is not None and message.error():
            at_end = message.error().name() == "_PARTITION_EOF"
            assert at_end, message.error()
        elif message is not None:
            found.append(message)
    client.close()
    assert at_end and len(found) == count, f"{len(found)} of {count} records"
    return found


def content(messages):
    return [(it.key(), it.value(), it.headers() or []) for it in messages]


def codecs():
    for codec in CODECS:
        topic = f"{PREFIX}-{codec}"
        create(topic)
        expected = records(200)
        client = producer(enable_idempotence=True, compression_type=codec, linger_ms=50)
        assert produce(client, topic, expected) == list(range(200))
        found = read(topic, 200)
        assert content(found) == expected, codec
        assert [it.offset() for it in found] == list(range(200)), codec
        stamps = [it.timestamp()[1] for it in found]
        assert stamps == [1_700_000_000_000 + i for i in range(200)], codec


def admin():
    topic = PREFIX
    create(topic, 3, {"cleanup.policy": "compact", "min.compaction.lag.ms": "1234"})
    try:
        create(topic)
        raise AssertionError("a topic was created twice")
    except KafkaException as error:
        assert error.args[0].name() == "TOPIC_ALREADY_EXISTS", error

    resource = ConfigResource(ResourceType.TOPIC, topic)
    described = result(ADMIN.describe_configs([resource]))
    assert described["cleanup.policy"].value == "compact"
    assert described["min.compaction.lag.ms"].value == "1234"
    assert described["max.message.bytes"].is_default
    change = ConfigEntry("retention.ms", "777", incremental_operation=AlterConfigOpType.SET)
    resource.add_incremental_config(change)
    result(ADMIN.incremental_alter_configs([resource]))

    def is_altered():
        described = result(ADMIN.describe_configs([ConfigResource(ResourceType.TOPIC, topic)]))
        return described["retention.ms"].value == "777" and described["cleanup.policy"].value == "compact"

    eventually("retention.ms to be 777", is_altered)

    result(ADMIN.create_partitions([NewPartitions(topic, 5)]))
    count = lambda: len(ADMIN.list_topics(topic, timeout=WAIT_MAX_S).topics[topic].partitions)
    eventually("5 partitions", lambda: count() == 5)
    cluster = ADMIN.describe_cluster().result(WAIT_MAX_S)
    assert len(cluster.nodes) >= 1 and cluster.cluster_id

    result(ADMIN.delete_topics([topic]))
    eventually("the topic to go", lambda: topic not in ADMIN.list_topics(timeout=WAIT_MAX_S).topics)


def offsets():
    """Ends, offsets by time, and records deleted."""
    create(PREFIX)
    produce(producer(), PREFIX, records(10))
    partition = TopicPartition(PREFIX, 0)
    latest = result(ADMIN.list_offsets({partition: OffsetSpec.latest()}))
    assert latest.offset == 10
    stamped = result(ADMIN.list_offsets({partition: OffsetSpec.for_timestamp(1_700_000_000_004)}))
    assert stamped.offset == 4
    deleted = result(ADMIN.delete_records([TopicPartition(PREFIX, 0, 7)]))
    assert deleted.low_watermark == 7
    assert [it.offset() for it in read(PREFIX, 3)] == [7, 8, 9]


def group():
    """Consumes a part, commits, goes on from there; then the group is described and deleted."""
    create(PREFIX, 3)
    client = producer()
    for partition in range(3):
        produce(client, PREFIX, records(20, f"p{partition}"), partition)

    first = consumer(PREFIX)
    first.subscribe([PREFIX])
    before = poll(first, 25)
    first.commit(asynchronous=False)
    first.close()
    second = consumer(PREFIX)
    second.subscribe([PREFIX])
    after = poll(second, 35)
    place = lambda it: (it.partition(), it.offset())
    assert sorted(map(place, before + after)) == [(p, o) for p in range(3) for o in range(20)]

    described = result(ADMIN.describe_consumer_groups([PREFIX]))
    assert described.state == ConsumerGroupState.STABLE, described.state
    (member,) = described.members
    assert len(member.assignment.topic_partitions) == 3
    second.commit(asynchronous=False)
    second.close()
    described = result(ADMIN.describe_consumer_groups([PREFIX]))
    assert described.state == ConsumerGroupState.EMPTY and not described.members
    listed = ADMIN.list_consumer_groups().result(WAIT_MAX_S)
    assert PREFIX in [it.group_id for it in listed.valid] and not listed.errors
    committed = result(ADMIN.list_consumer_group_offsets([ConsumerGroupTopicPartitions(PREFIX)]))
    stored = {it.partition: it.offset for it in committed.topic_partitions}
    assert stored == {0: 20, 1: 20, 2: 20}, stored

    moved = ConsumerGroupTopicPartitions(PREFIX, [TopicPartition(PREFIX, 1, 5)])
    result(ADMIN.alter_consumer_group_offsets([moved]))
    third = consumer(PREFIX)
    third.subscribe([PREFIX])
    again = poll(third, 15)
    assert [place(it) for it in again] == [(1, o) for o in range(5, 20)]
    third.close()
    result(ADMIN.delete_consumer_groups([PREFIX]))
    listed = ADMIN.list_consumer_groups().result(WAIT_MAX_S)
    assert PREFIX not in [it.group_id for it in listed.valid]


def members():
    """Two members share the partitions; when one leaves the other takes them all."""
    for strategy in ["range", "cooperative-sticky"]:
        topic = f"{PREFIX}-{strategy}"
        create(topic, 4)
        clients = [consumer(topic, partition_assignment_strategy=strategy) for _ in range(2)]
        for client in clients:
            client.subscribe([topic])

        def owned():
            for client in clients:
                message = client.poll(0.05)
                assert message is None or message.error() is None, message.error()
            return [sorted(it.partition for it in client.assignment()) for client in clients]

        even = lambda: [len(it) for it in owned()] == [2, 2]
        eventually("two partitions each", even)
        shares = owned()
        assert sorted(shares[0] + shares[1]) == [0, 1, 2, 3], shares
        clients.pop().close()
        eventually("all partitions again", lambda: owned() == [[0, 1, 2, 3]])
        clients.pop().close()


def transactions():
    """Commits and aborts; readers of committed records see only those."""
    create(PREFIX)
    client = producer(transactional_id=PREFIX)
    client.init_transactions(WAIT_MAX_S)
    kept, dropped = records(10, "kept"), records(10, "dropped")
    client.begin_transaction()
    produce(client, PREFIX, dropped)
    client.abort_transaction(WAIT_MAX_S)
    client.begin_transaction()
    produce(client, PREFIX, kept)
    client.commit_transaction(WAIT_MAX_S)
    # Each transaction ends with a marker, which takes an offset.
    committed = read(PREFIX, 10)
    assert content(committed) == kept
    assert [it.offset() for it in committed] == list(range(11, 21))
    everything = read(PREFIX, 20, isolation="read_uncommitted")
    assert content(everything) == dropped + kept

    client.begin_transaction()
    produce(client, PREFIX, records(5, "open"))
    assert len(read(PREFIX, 10)) == 10, "an open transaction is visible"
    fencing = producer(transactional_id=PREFIX)
    fencing.init_transactions(WAIT_MAX_S)
    try:
        client.commit_transaction(WAIT_MAX_S)
        raise AssertionError("a fenced producer committed")
    except KafkaException as error:
        assert error.args[0].fatal() or error.args[0].txn_requires_abort(), error
    assert len(read(PREFIX, 10)) == 10, "a fenced transaction is visible"


def copies():
    """Consumes, produces and commits the positions, in one transaction each."""
    source, target = f"{PREFIX}-in", f"{PREFIX}-out"
    create(source)
    create(target)
    produce(producer(), source, records(30))
    client = producer(transactional_id=PREFIX)
    client.init_transactions(WAIT_MAX_S)
    # The second transaction is aborted, so its records are consumed once more.
    for commit in [True, False, True, True]:
        reader = consumer(PREFIX, isolation_level="read_committed")
        reader.subscribe([source])
        batch = poll(reader, 10)
        client.begin_transaction()
        produce(client, target, content(batch))
        position = [TopicPartition(source, 0, batch[-1].offset() + 1)]
        client.send_offsets_to_transaction(position, reader.consumer_group_metadata(), WAIT_MAX_S)
        if commit:
            client.commit_transaction(WAIT_MAX_S)
        else:
            client.abort_transaction(WAIT_MAX_S)
        reader.close()
    assert content(read(target, 30)) == records(30)
    assert len(read(target, 40, isolation="read_uncommitted")) == 40
    stored = consumer(PREFIX).committed([TopicPartition(source, 0)], WAIT_MAX_S)
    assert stored[0].offset == 30, stored


SCENARIOS = [codecs, admin, offsets, group, members, transactions, copies]
{it.__name__: it for it in SCENARIOS}[SCENARIO]()
