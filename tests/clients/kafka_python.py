"""kafka-python against one cluster.

Arguments: bootstrap servers, the name of a scenario, a prefix for every name it uses.
Ends with an error at the first thing that is not as Kafka has it.
"""

import sys
import time

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType, OffsetSpec
from kafka.errors import TopicAlreadyExistsError

# For what a broker is sure to do, if slowly.
WAIT_MAX_S = 120
CODECS = [None, "gzip", "snappy", "lz4", "zstd"]

BOOTSTRAP, SCENARIO, PREFIX = sys.argv[1:]
ADMIN = KafkaAdminClient(bootstrap_servers=BOOTSTRAP)


def eventually(what, look):
    """What `look` finds; a change is not everywhere at once."""
    deadline = time.monotonic() + WAIT_MAX_S
    while time.monotonic() < deadline:
        found = look()
        if found:
            return found
        time.sleep(0.02)
    raise AssertionError(f"waited for {what}")


def create(topic, partitions=1, configs=None):
    options = {"num_partitions": partitions, "replication_factor": 1, "configs": configs or {}}
    ADMIN.create_topics({topic: options}, wait_for_metadata=True)


def producer(**config):
    return KafkaProducer(bootstrap_servers=BOOTSTRAP, acks="all", **config)


def consumer(*topics, **config):
    config = {"auto_offset_reset": "earliest", "enable_auto_commit": False, **config}
    return KafkaConsumer(*topics, bootstrap_servers=BOOTSTRAP, **config)


def records(count, label="value"):
    return [
        (f"key {i}".encode(), f"{label} {i} ".encode() * 20, [("number", str(i).encode())])
        for i in range(count)
    ]


def produce(client, topic, records, partition=0):
    """Appends (key, value, headers); answers their offsets."""
    futures = [
        client.send(topic, value, key, headers, partition, 1_700_000_000_000 + at)
        for at, (key, value, headers) in enumerate(records)
    ]
    client.flush(WAIT_MAX_S)
    return [future.get(WAIT_MAX_S).offset for future in futures]


def poll(client, count, at_once=None):
    """At least `count` records, ever further until so many have come."""
    found, deadline = [], time.monotonic() + WAIT_MAX_S
    while len(found) < count and time.monotonic() < deadline:
        for batch in client.poll(1000, max_records=at_once).values():
            found += batch
    assert len(found) >= count, f"{len(found)} of {count} records"
    return found


def read(topic, count, isolation="read_committed"):
    """Every record of partition 0, which are `count`, up to its end."""
    partition = TopicPartition(topic, 0)
    client = consumer(isolation_level=isolation)
    client.assign([partition])
    end = client.end_offsets([partition])[partition]
    found = []

    def at_end():
        for batch in client.poll(100).values():
            found.extend(batch)
        return client.position(partition) >= end

    eventually(f"the end of {topic}", at_end)
    client.close()
    assert len(found) == count, f"{len(found)} of {count} records"
    return found


def content(found):
    return [(it.key, it.value, list(it.headers)) for it in found]


def codecs():
    for codec in CODECS:
        topic = f"{PREFIX}-{codec}"
        create(topic)
        expected = records(200)
        client = producer(compression_type=codec, linger_ms=50, enable_idempotence=True)
        assert produce(client, topic, expected) == list(range(200))
        client.close()
        found = read(topic, 200)
        assert content(found) == expected, codec
        assert [it.offset for it in found] == list(range(200)), codec
        assert [it.timestamp for it in found] == [1_700_000_000_000 + i for i in range(200)], codec


def admin():
    topic = PREFIX
    create(topic, 3, {"cleanup.policy": "compact"})
    try:
        create(topic)
        raise AssertionError("a topic was created twice")
    except TopicAlreadyExistsError:
        pass
    resource = ConfigResource(ConfigResourceType.TOPIC, topic)
    configs = lambda: ADMIN.describe_configs([resource])["topic"][topic]
    assert configs()["cleanup.policy"]["value"] == "compact"
    ADMIN.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, {"retention.ms": "777"})])
    eventually("the change", lambda: configs().get("retention.ms", {}).get("value") == "777")
    assert configs()["cleanup.policy"]["value"] == "compact"
    ADMIN.create_partitions({topic: 5})
    eventually("5 partitions", lambda: len(ADMIN.describe_topics([topic])[0]["partitions"]) == 5)
    assert ADMIN.describe_cluster()["brokers"]
    ADMIN.delete_topics([topic])
    eventually("the topic to go", lambda: topic not in ADMIN.list_topics())


def offsets():
    """Ends, offsets by time, and records deleted."""
    create(PREFIX)
    produce(producer(), PREFIX, records(10))
    partition = TopicPartition(PREFIX, 0)
    assert ADMIN.list_partition_offsets({partition: OffsetSpec.LATEST})[partition].offset == 10
    client = consumer()
    assert client.offsets_for_times({partition: 1_700_000_000_004})[partition].offset == 4
    ADMIN.delete_records({partition: 7})
    assert client.beginning_offsets([partition]) == {partition: 7}
    assert [it.offset for it in read(PREFIX, 3)] == [7, 8, 9]


def group():
    """Consumes a part, commits, goes on from there; then the group is described and deleted."""
    create(PREFIX, 3)
    client = producer()
    for partition in range(3):
        produce(client, PREFIX, records(20, f"p{partition}"), partition)
    first = consumer(PREFIX, group_id=PREFIX)
    before = poll(first, 25, 5)
    first.commit()
    first.close()
    second = consumer(PREFIX, group_id=PREFIX)
    after = poll(second, 60 - len(before))
    place = lambda it: (it.partition, it.offset)
    assert sorted(map(place, before + after)) == [(p, o) for p in range(3) for o in range(20)]

    described = ADMIN.describe_groups([PREFIX])[PREFIX]
    assert described["group_state"] == "Stable" and len(described["members"]) == 1, described
    second.commit()
    second.close()
    described = ADMIN.describe_groups([PREFIX])[PREFIX]
    assert described["group_state"] == "Empty" and not described["members"], described
    assert PREFIX in [it["group_id"] for it in ADMIN.list_groups()]
    stored = ADMIN.list_group_offsets(PREFIX)[PREFIX]
    assert {it.partition: place.offset for it, place in stored.items()} == {0: 20, 1: 20, 2: 20}

    ADMIN.reset_group_offsets(PREFIX, {TopicPartition(PREFIX, 1): OffsetSpec.EARLIEST})
    third = consumer(PREFIX, group_id=PREFIX)
    assert [place(it) for it in poll(third, 20)] == [(1, o) for o in range(20)]
    third.close()
    ADMIN.delete_groups([PREFIX])
    assert PREFIX not in [it["group_id"] for it in ADMIN.list_groups()]


def transactions():
    """Commits and aborts; readers of committed records see only those."""
    create(PREFIX)
    client = producer(transactional_id=PREFIX)
    client.init_transactions()
    kept, dropped = records(10, "kept"), records(10, "dropped")
    client.begin_transaction()
    produce(client, PREFIX, dropped)
    client.abort_transaction()
    client.begin_transaction()
    produce(client, PREFIX, kept)
    client.commit_transaction()
    client.close()
    # Each transaction ends with a marker, which takes an offset.
    committed = read(PREFIX, 10)
    assert content(committed) == kept
    assert [it.offset for it in committed] == list(range(11, 21))
    assert content(read(PREFIX, 20, "read_uncommitted")) == dropped + kept


SCENARIOS = [codecs, admin, offsets, group, transactions]
{it.__name__: it for it in SCENARIOS}[SCENARIO]()
