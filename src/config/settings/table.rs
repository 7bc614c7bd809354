//! The rows of the table, grouped by where they work and what becomes of them.

use super::{
    Kind::{
        self, Bool, Bytes, Class, Fraction, List, Millis, Number, OneOf, OneOfAnyCase, Patterns,
        Seconds, Secret, Servers, Start, Starts, Text,
    },
    Scope::{self, *},
    Status::{self, *},
};

/// Settings that share scopes and status.
pub(super) struct Group {
    pub(super) scopes: &'static [Scope],
    pub(super) status: Status,
    pub(super) rows: &'static [Row],
}

/// Name, type, default, one line about it.
type Row = (&'static str, Kind, &'static str, &'static str);

const INT_MAX: i64 = i32::MAX as i64;
const ANY: Kind = Number(i32::MIN as i64, INT_MAX);
const REPLICATION_FACTOR: Kind = Number(-1, i16::MAX as i64);
const MILLIS: Kind = Millis(0, i64::MAX);
const SECONDS: Kind = Seconds(0, INT_MAX);
const BYTES: Kind = Bytes(0, INT_MAX);
const SIZE: Kind = Bytes(-1, INT_MAX);

const ONE_PROCESS: &str = "one process copies all partitions in parallel";
const NO_WORKER: &str = "there is no Connect worker";
const NO_JAVA: &str = "Java classes cannot be loaded";
const AS_IT_IS: &str = "records are written as they were read";
const DELIVERY: &str =
    "delivery is exactly-once, without transactions; kmirror.delivery = transactional uses them";
const OWN_CLIENT: &str = "kmirror has its own client, which tunes this itself";

// One row a line: this is read down its columns.
#[rustfmt::skip]
pub(super) const GROUPS: &[Group] = &[
    Group {
        scopes: &[Process],
        status: Implemented,
        rows: &[
            ("clusters", List, "", "Aliases of the clusters"),
            ("config.providers", List, "", "Names of config providers, which other values refer to"),
            ("config.providers.*", Text, "", "Of provider `n`: `n.class`, and its parameter `n.param.allowed.paths` or `n.param.allowlist.pattern`"),
            ("kmirror.memory.bytes", Bytes(1_048_576, u32::MAX as i64), "33554432", "Data in flight, all flows together"),
            ("kmirror.request.timeout.ms", Millis(1, INT_MAX), "30000", "How long a broker may take to answer"),
            ("kmirror.shutdown.timeout.ms", Millis(0, INT_MAX), "10000", "How long a stop may take"),
            ("kmirror.http.listen", Text, "127.0.0.1:9404", "Where `/metrics`, `/live` and `/ready` are served, host:port; empty serves nothing"),
        ],
    },
    Group {
        scopes: &[Flow],
        status: Implemented,
        rows: &[
            ("enabled", Bool, "false", "Whether the flow runs"),
            ("topics", Patterns, ".*", "Topics to replicate"),
            ("topics.exclude", Patterns, r"mm2.*\\.internal, .*\\.replica, __.*", "Topics not to replicate"),
            ("config.properties.exclude", Patterns, PROPERTIES_EXCLUDE, "Topic properties not to copy"),
            ("use.defaults.from", Text, "target", "`source` copies the source's defaults too"),
            ("replication.factor", REPLICATION_FACTOR, "2", "Of new remote topics; -1 leaves it to the brokers"),
            ("refresh.topics.enabled", Bool, "true", "Whether new topics are looked for"),
            ("heartbeats.replication.enabled", Bool, "true", "Whether heartbeats topics are always replicated"),
            ("kmirror.fetch.max.bytes", Bytes(1, INT_MAX), "8388608", "Of one fetch response"),
            ("kmirror.partition.fetch.max.bytes", Bytes(1, INT_MAX), "1048576", "Of one partition in one fetch response"),
            ("kmirror.fetch.connections.per.broker", Number(1, 64), "2", "Connections that fetch from one broker; from 2 on, idle partitions hold up no busy one"),
            ("kmirror.discovery.interval.ms", Millis(100, INT_MAX), "3000", "How often new topics are looked for"),
            ("kmirror.positions.interval.ms", Millis(10, INT_MAX), "1000", "How often positions are stored"),
            ("kmirror.delivery", OneOf(&["exactly-once", "at-least-once", "transactional"]), "exactly-once", "How often a record may be on the target; `exactly-once` needs no transactions; `transactional` counts for readers of committed records, and does not notice what the target loses"),
            ("kmirror.start", Start, "", "Where a new partition begins; without it auto.offset.reset holds, and where a group has committed nothing"),
            ("kmirror.start.topics", Starts, "", "The same for single topics, named by regular expressions, and partitions; the first that matches holds, and where a group has committed nothing kmirror.start"),
            ("kmirror.transactional.id", Text, "", "Of `transactional` delivery; without it kmirror-A-B; the process that was started last has it"),
            ("kmirror.transaction.timeout.ms", Millis(1000, INT_MAX), "60000", "After how long the target aborts what a process has left open; no more than its transaction.max.timeout.ms"),
            ("kmirror.on-gap", OneOf(&["continue", "halt"]), "continue", "What a partition does whose source has deleted or lost records that were not copied"),
            ("kmirror.on-recreated", OneOf(&["halt", "append"]), "halt", "What a partition does whose source topic was deleted and created again; `append` copies the new one after the old one's records"),
            ("kmirror.adopt", OneOf(&["ask", "prove", "stored", "earliest", "latest"]), "ask", "What becomes of a remote partition that does not hold what is stored about it, or holds what nothing explains; `ask` halts it, `prove` finds its place by content, `stored` believes the stored position"),
            ("kmirror.state.topic.replication.factor", REPLICATION_FACTOR, "", "Of kmirror-state.A.internal; -1 leaves it to the brokers; without it offset.storage.replication.factor holds"),
            ("kmirror.quiesce.ms", Millis(0, INT_MAX), "5000", "How long a partition whose source topic is compacted, or whose target gives out no producer ids, waits for late batches before its position is proven"),
            ("kmirror.lease.ms", Millis(1000, INT_MAX), "10000", "After a longer pause of the process it proves its positions again before it writes"),
            ("kmirror.anchor.interval.ms", Millis(10, INT_MAX), "5000", "How often proof of a partition's position is stored at least, while it is copied"),
            ("kmirror.anchor.bytes", Bytes(1, INT_MAX), "8388608", "After how many bytes of a partition it is stored at the latest, but no more than twice a second"),
        ],
    },
    Group {
        scopes: &[Flow, WorkerShared],
        status: Implemented,
        rows: &[
            ("replication.policy.class", Class, "org.apache.kafka.connect.mirror.DefaultReplicationPolicy", "How remote topics are named"),
            ("replication.policy.separator", Text, ".", "What stands between alias and topic"),
            ("replication.policy.internal.topic.separator.enabled", Bool, "true", "Whether internal topics use the separator"),
        ],
    },
    Group {
        scopes: &[Flow],
        status: Renamed("topics.exclude"),
        rows: &[("topics.blacklist", Patterns, "", "Topics not to replicate")],
    },
    Group {
        scopes: &[Flow],
        status: Renamed("config.properties.exclude"),
        rows: &[("config.properties.blacklist", Patterns, "", "Topic properties not to copy")],
    },
    Group {
        scopes: &[Flow],
        status: Renamed("groups.exclude"),
        rows: &[("groups.blacklist", Patterns, "", "Groups not to replicate")],
    },
    Group {
        scopes: &[Client],
        status: Implemented,
        rows: &[
            ("bootstrap.servers", Servers, "", "Brokers to ask first"),
            ("security.protocol", OneOfAnyCase(&["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]), "PLAINTEXT", "Whether connections are made safe by TLS (SSL), and whether kmirror says who it is by SASL"),
        ],
    },
    Group {
        scopes: &[Worker],
        status: Implemented,
        rows: &[
            ("client.id", Text, "kmirror", "What kmirror calls itself towards the cluster"),
            ("offset.flush.interval.ms", Millis(1, i64::MAX), "", "Old form of kmirror.positions.interval.ms"),
        ],
    },
    Group {
        scopes: &[WorkerShared],
        status: Implemented,
        rows: &[
            ("offset.storage.topic", Text, "mm2-offsets.A.internal", "Topic of stored positions"),
            ("offset.storage.partitions", Number(-1, INT_MAX), "25", "Its partitions; -1 leaves it to the brokers"),
            ("offset.storage.replication.factor", REPLICATION_FACTOR, "3", "Its replication factor; -1 as above"),
            ("offset.storage.*", Text, "", "Properties of it when it is created, as `offset.storage.segment.bytes`"),
        ],
    },
    Group {
        scopes: &[Consumer],
        status: Implemented,
        rows: &[
            ("isolation.level", OneOf(&["read_committed", "read_uncommitted"]), "read_committed", "Whether aborted records are copied"),
            ("auto.offset.reset", OneOfAnyCase(&["earliest", "latest"]), "earliest", "Where a new partition starts"),
            ("fetch.max.bytes", BYTES, "", "Old form of kmirror.fetch.max.bytes"),
            ("max.partition.fetch.bytes", BYTES, "", "Old form of kmirror.partition.fetch.max.bytes"),
        ],
    },
    Group {
        scopes: &[Flow],
        status: Needless(
            "new topics are looked for all the time; see kmirror.discovery.interval.ms",
        ),
        rows: &[("refresh.topics.interval.seconds", SECONDS, "600", "How often new topics are looked for")],
    },
    Group {
        scopes: &[Flow],
        status: Needless(ONE_PROCESS),
        rows: &[
            ("tasks.max", Number(1, INT_MAX), "1", "Tasks per connector"),
            ("tasks.max.enforce", Bool, "true", "Whether that is a hard limit"),
        ],
    },
    Group {
        scopes: &[Flow],
        status: Implemented,
        rows: &[
            ("sync.topic.configs.enabled", Bool, "true", "Whether properties of remote topics follow the source after they were created"),
            ("sync.topic.configs.interval.seconds", SECONDS, "600", "How often they are compared, at least every second"),
        ],
    },
    Group {
        scopes: &[Flow],
        status: Implemented,
        rows: &[
            ("sync.topic.acls.enabled", Bool, "true", "Whether ACLs of topics, by their full names, are copied to remote topics; ALLOW WRITE is not, ALLOW ALL becomes ALLOW READ"),
            ("sync.topic.acls.interval.seconds", SECONDS, "600", "How often they are compared, at least every second"),
            ("kmirror.sync.acls.prefixed", Bool, "false", "Whether ACLs on prefixes of topics are copied too, as prefixes of remote topics, and those on all topics as the prefix of all remote topics"),
            ("kmirror.sync.acls.groups", Bool, "false", "Whether ACLs on groups that are told of are copied too, as they are; only those with the full name of a group"),
            ("kmirror.sync.acls.remove", Bool, "false", "Whether rights on remote topics that the source does not give are removed, also those that somebody gave on the target; no denials, nothing of who may write remote topics"),
        ],
    },
    Group {
        scopes: &[Flow],
        status: Implemented,
        rows: &[
            ("groups", Patterns, ".*", "Consumer groups to tell of on the target"),
            ("groups.exclude", Patterns, "console-consumer-.*, connect-.*, __.*", "Groups not to tell of"),
            ("emit.checkpoints.enabled", Bool, "true", "Whether checkpoints are published, and groups taken along"),
            ("emit.checkpoints.interval.seconds", SECONDS, "60", "How often, at least every second"),
            ("sync.group.offsets.enabled", Bool, "false", "Whether the positions of groups that nobody uses on the target are committed there"),
            ("sync.group.offsets.interval.seconds", SECONDS, "60", "How often, at least every second"),
            ("checkpoints.topic.replication.factor", REPLICATION_FACTOR, "3", "Of the checkpoints topic; -1 leaves it to the brokers"),
        ],
    },
    Group {
        scopes: &[Flow],
        status: Needless("groups are listed whenever checkpoints are due"),
        rows: &[
            ("refresh.groups.enabled", Bool, "true", "Whether new groups are looked for"),
            ("refresh.groups.interval.seconds", SECONDS, "600", "How often"),
        ],
    },
    Group {
        scopes: &[Flow],
        status: Needless("the newest pair of each partition is published as often as its position is stored"),
        rows: &[("offset.lag.max", Number(0, i64::MAX), "100", "Offsets between two offset syncs")],
    },
    Group {
        scopes: &[Flow],
        status: Implemented,
        rows: &[
            ("emit.offset-syncs.enabled", Bool, "true", "Whether offset syncs are published, which MM2 needs to go on"),
            ("offset-syncs.topic.location", OneOf(&["source", "target"]), "source", "On which cluster"),
            ("offset-syncs.topic.replication.factor", REPLICATION_FACTOR, "3", "Of the offset syncs topic; -1 leaves it to the brokers"),
        ],
    },
    Group {
        scopes: &[Flow],
        status: Implemented,
        rows: &[
            ("emit.heartbeats.enabled", Bool, "true", "Whether heartbeats are written to B, also where A->B is not enabled"),
            ("emit.heartbeats.interval.seconds", SECONDS, "1", "How often, at least every second"),
            ("heartbeats.topic.replication.factor", REPLICATION_FACTOR, "3", "Of the heartbeats topic; -1 leaves it to the brokers"),
        ],
    },
    Group {
        scopes: &[Flow],
        status: Unsupported(NO_JAVA),
        rows: &[
            ("topic.filter.class", Class, "org.apache.kafka.connect.mirror.DefaultTopicFilter", "Topic filter"),
            ("group.filter.class", Class, "org.apache.kafka.connect.mirror.DefaultGroupFilter", "Group filter"),
            ("config.property.filter.class", Class, "org.apache.kafka.connect.mirror.DefaultConfigPropertyFilter", "Property filter"),
            ("forwarding.admin.class", Class, "org.apache.kafka.clients.admin.ForwardingAdmin", "Admin client"),
            ("metric.reporters", List, "", "Metrics plug-ins"),
            ("transforms", List, "", "Single message transforms"),
            ("predicates", List, "", "Conditions of transforms"),
        ],
    },
    Group {
        scopes: &[FlowOnly],
        status: Unsupported(NO_JAVA),
        rows: &[
            ("transforms.*", Text, "", "Single message transforms"),
            ("predicates.*", Text, "", "Conditions of transforms"),
        ],
    },
    Group {
        scopes: &[Flow],
        status: Needless("kmirror.request.timeout.ms bounds every request"),
        rows: &[("admin.timeout.ms", Millis(0, i64::MAX), "60000", "How long administrative jobs may take")],
    },
    Group {
        scopes: &[Flow],
        status: Needless("a fetch waits for data as long as the broker lets it"),
        rows: &[("consumer.poll.timeout.ms", MILLIS, "1000", "How long a poll may wait")],
    },
    Group {
        scopes: &[Flow],
        status: Needless("failures are retried until they are cured"),
        rows: &[
            ("config.action.reload", OneOfAnyCase(&["restart", "none"]), "restart", "What a changed secret does"),
            ("errors.retry.timeout", Number(-1, i64::MAX), "0", "Milliseconds to retry"),
            ("errors.retry.delay.max.ms", MILLIS, "60000", "Longest pause between retries"),
            ("errors.tolerance", OneOfAnyCase(&["none", "all"]), "none", "Whether failing records are skipped"),
            ("errors.log.enable", Bool, "false", "Whether failing records are logged"),
            ("errors.log.include.messages", Bool, "false", "Whether their content is"),
        ],
    },
    Group {
        scopes: &[Flow],
        status: Needless("aliases, names and classes follow from the flow"),
        rows: &[
            ("name", Text, "", "Name of the connector"),
            ("connector.class", Class, "", "Class of the connector"),
            ("source.cluster.alias", Text, "", "Alias of the source"),
            ("target.cluster.alias", Text, "", "Alias of the target"),
        ],
    },
    Group {
        scopes: &[Flow],
        status: Needless("properties are always set incrementally, and metrics are always tagged"),
        rows: &[
            ("use.incremental.alter.configs", Text, "", "Removed in Kafka 4.0"),
            ("add.source.alias.to.metrics", Bool, "false", "Removed in Kafka 4.0"),
            ("auto.include.jmx.reporter", Bool, "true", "Removed in Kafka 4.0"),
            ("metric.names.formats", List, "legacy", "Names of JMX metrics"),
        ],
    },
    Group {
        scopes: &[FlowOnly],
        status: Needless(DELIVERY),
        rows: &[
            ("exactly.once.support", OneOfAnyCase(&["requested", "required"]), "requested", "Whether exactly-once is demanded"),
            ("transaction.boundary", OneOfAnyCase(&["poll", "interval", "connector"]), "poll", "Where transactions end"),
            ("transaction.boundary.interval.ms", Millis(1, i64::MAX), "", "How long a transaction lasts"),
        ],
    },
    Group {
        scopes: &[FlowOnly],
        status: Unsupported("positions have one topic per source and target"),
        rows: &[("offsets.storage.topic", Text, "", "Offsets topic of one connector")],
    },
    Group {
        scopes: &[FlowOnly],
        status: Unsupported("remote topics are created like their source topics"),
        rows: &[("topic.creation.*", Text, "", "Rules for new topics")],
    },
    Group {
        scopes: &[Flow, WorkerShared],
        status: Needless(AS_IT_IS),
        rows: &[
            ("key.converter", Class, BYTE_ARRAY, "Converter of keys"),
            ("value.converter", Class, BYTE_ARRAY, "Converter of values"),
            ("header.converter", Class, BYTE_ARRAY, "Converter of headers"),
        ],
    },
    Group {
        scopes: &[FlowOnly, WorkerShared],
        status: Needless(AS_IT_IS),
        rows: &[
            ("key.converter.*", Text, "", "Of the converter"),
            ("value.converter.*", Text, "", "Of the converter"),
            ("header.converter.*", Text, "", "Of the converter"),
        ],
    },
    Group {
        scopes: &[Process],
        status: Needless("there is no internal REST server"),
        rows: &[
            ("dedicated.mode.enable.internal.rest", Bool, "false", "Whether MM2 processes talk to each other"),
            ("listeners", List, "http://:8083", "Addresses of the REST server"),
            ("listeners.https.*", Text, "", "Its TLS settings"),
            ("rest.advertised.host.name", Text, "", "Its name"),
            ("rest.advertised.port", Number(0, 65535), "", "Its port"),
            ("rest.advertised.listener", Text, "", "Its protocol"),
            ("access.control.allow.origin", Text, "", "Its CORS origins"),
            ("access.control.allow.methods", Text, "", "Its CORS methods"),
            ("response.http.headers.config", Text, "", "Its headers"),
            ("ssl.client.auth", OneOfAnyCase(&["required", "requested", "none"]), "none", "Its clients' certificates"),
        ],
    },
    Group {
        scopes: &[WorkerShared],
        status: Needless("the topic of positions is always compacted"),
        rows: &[("offset.storage.cleanup.policy", Text, "compact", "Its cleanup policy")],
    },
    Group {
        scopes: &[WorkerShared],
        status: Needless("the status and config topics of Connect are not used"),
        rows: &[
            ("status.storage.topic", Text, "mm2-status.A.internal", "Status topic"),
            ("status.storage.partitions", Number(-1, INT_MAX), "5", "Its partitions"),
            ("status.storage.replication.factor", REPLICATION_FACTOR, "3", "Its replication factor"),
            ("status.storage.*", Text, "", "Its properties"),
            ("config.storage.topic", Text, "mm2-configs.A.internal", "Config topic"),
            ("config.storage.replication.factor", REPLICATION_FACTOR, "3", "Its replication factor"),
            ("config.storage.*", Text, "", "Its properties"),
        ],
    },
    Group {
        scopes: &[WorkerShared],
        status: Needless("kmirror.shutdown.timeout.ms bounds a stop"),
        rows: &[
            ("task.shutdown.graceful.timeout.ms", MILLIS, "5000", "How long a stop may take"),
            ("worker.sync.timeout.ms", MILLIS, "3000", "How long a worker may lag"),
            ("worker.unsync.backoff.ms", MILLIS, "300000", "How long it then waits"),
        ],
    },
    Group {
        scopes: &[Worker],
        status: Needless(DELIVERY),
        rows: &[("exactly.once.source.support", OneOfAnyCase(&["disabled", "preparing", "enabled"]), "disabled", "Exactly-once in Connect")],
    },
    Group {
        scopes: &[Worker],
        status: Needless(NO_WORKER),
        rows: &[
            ("offset.flush.timeout.ms", MILLIS, "5000", "How long storing positions may take"),
            ("group.id", Text, "A-mm2", "Group of Connect workers"),
            ("session.timeout.ms", MILLIS, "10000", "When a worker counts as dead"),
            ("rebalance.timeout.ms", MILLIS, "60000", "How long a rebalance may take"),
            ("heartbeat.interval.ms", MILLIS, "3000", "How often a worker shows itself"),
            ("scheduled.rebalance.max.delay.ms", MILLIS, "300000", "How long a lost worker is waited for"),
            ("connect.protocol", Text, "sessioned", "How workers share work"),
            ("inter.worker.*", Text, "", "How workers sign requests"),
            ("topic.creation.enable", Bool, "true", "Whether Connect creates topics"),
            ("topic.tracking.enable", Bool, "true", "Whether Connect tracks topics"),
            ("topic.tracking.allow.reset", Bool, "true", "Whether tracking can be reset"),
            ("plugin.path", List, "", "Where Java plug-ins lie"),
            ("plugin.discovery", Text, "", "How they are found"),
            ("connector.client.config.override.policy", Text, "All", "Which client settings may be overridden"),
        ],
    },
    Group {
        scopes: &[Client],
        status: Implemented,
        rows: &[
            ("ssl.truststore.location", Text, "", "File of the certificates to trust, or of their signers: PEM, PKCS#12 or JKS; without one those that the operating system trusts. Read again when it changes"),
            ("ssl.truststore.password", Secret, "", "Its password"),
            ("ssl.truststore.certificates", Secret, "", "The same as PEM in place of a file"),
            ("ssl.keystore.location", Text, "", "File of the own key and certificates: PEM, PKCS#12 or JKS. Read again when it changes"),
            ("ssl.keystore.password", Secret, "", "Its password"),
            ("ssl.key.password", Secret, "", "Password of the own key, where it has one of its own"),
            ("ssl.keystore.key", Secret, "", "Own key as PEM in place of a file"),
            ("ssl.keystore.certificate.chain", Secret, "", "Own certificate and those of its signers as PEM in place of a file"),
            ("ssl.enabled.protocols", List, "TLSv1.2,TLSv1.3", "TLS versions that may be spoken; TLSv1.2 and TLSv1.3 can be"),
            ("ssl.cipher.suites", List, "", "Cipher suites that may be used, by their standard names; those that are not known here do not count"),
            ("ssl.endpoint.identification.algorithm", OneOfAnyCase(&["https", ""]), "https", "Whether a broker's certificate must be for its host; empty: not"),
            ("sasl.mechanism", Text, "GSSAPI", "PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 or OAUTHBEARER"),
            ("sasl.jaas.config", Secret, "", "Login module with its options: ...PlainLoginModule and ...ScramLoginModule with username and password, ...OAuthBearerLoginModule with clientId and clientSecret"),
            ("sasl.login.callback.handler.class", Class, "", "Only Kafka's OAuthBearerLoginCallbackHandler, which need not be named"),
            ("sasl.oauthbearer.token.endpoint.url", Text, "", "Where tokens come from: https://... or file:..."),
            ("sasl.oauthbearer.client.credentials.client.id", Text, "", "Who asks for tokens; without it clientId of the login module"),
            ("sasl.oauthbearer.client.credentials.client.secret", Secret, "", "The secret of that; without it clientSecret of the login module"),
            ("sasl.oauthbearer.scope", Text, "", "Scope to ask for; without it scope of the login module"),
            ("sasl.oauthbearer.header.urlencode", Bool, "false", "Whether id and secret are encoded as in forms"),
            ("sasl.login.connect.timeout.ms", MILLIS, "", "How long connecting to a token endpoint may take; without both 10 seconds for all"),
            ("sasl.login.read.timeout.ms", MILLIS, "", "How long its answer may take"),
        ],
    },
    Group {
        scopes: &[Client],
        status: Needless("what a store is, its content says"),
        rows: &[
            ("ssl.keystore.type", OneOfAnyCase(&["JKS", "PKCS12", "PEM"]), "JKS", "Format of the own certificate"),
            ("ssl.truststore.type", OneOfAnyCase(&["JKS", "PKCS12", "PEM"]), "JKS", "Format of trusted certificates"),
        ],
    },
    Group {
        scopes: &[Client],
        status: Needless("TLS is built in, without Java"),
        rows: &[
            ("ssl.protocol", Text, "TLSv1.3", "TLS version; see ssl.enabled.protocols"),
            ("ssl.provider", Text, "", "Java security provider"),
            ("ssl.keymanager.algorithm", Text, "", "Java key manager"),
            ("ssl.trustmanager.algorithm", Text, "", "Java trust manager"),
            ("ssl.secure.random.implementation", Text, "", "Java random source"),
        ],
    },
    Group {
        scopes: &[Client],
        status: Unsupported(NO_JAVA),
        rows: &[
            ("ssl.engine.factory.class", Class, "", "Java TLS engine"),
            ("sasl.client.callback.handler.class", Class, "", "Java callback handler"),
            ("sasl.login.class", Class, "", "Java login"),
            ("sasl.oauthbearer.jwt.retriever.class", Class, "", "What gets tokens"),
            ("sasl.oauthbearer.jwt.validator.class", Class, "", "What looks into them"),
        ],
    },
    Group {
        scopes: &[Client],
        status: Unsupported("tokens are asked for with an id and a secret"),
        rows: &[("sasl.oauthbearer.assertion.*", Text, "", "To ask for tokens with signed assertions")],
    },
    Group {
        scopes: &[Client],
        status: Unsupported("a static binary can load no Kerberos libraries"),
        rows: KERBEROS,
    },
    Group {
        scopes: &[Client],
        status: Needless("brokers look into tokens, and a new one is asked for when most of a token's life is over"),
        rows: OAUTH,
    },
    Group {
        scopes: &[Consumer],
        status: Needless(OWN_CLIENT),
        rows: &[
            ("max.poll.records", Number(1, INT_MAX), "500", "Records of one poll"),
            ("max.poll.interval.ms", MILLIS, "300000", "Longest pause between polls"),
            ("fetch.min.bytes", BYTES, "1", "What a fetch waits for"),
            ("fetch.max.wait.ms", MILLIS, "500", "How long it waits"),
            ("check.crcs", Bool, "true", "Whether checksums are verified"),
            ("enable.auto.commit", Bool, "false", "Never; positions are stored otherwise"),
            ("auto.commit.interval.ms", MILLIS, "5000", "How often"),
            ("allow.auto.create.topics", Bool, "true", "Never; reading creates no topic"),
            ("exclude.internal.topics", Bool, "true", "Whether patterns match internal topics"),
            ("session.timeout.ms", MILLIS, "45000", "Of a group, and there is none"),
            ("heartbeat.interval.ms", MILLIS, "3000", "Of a group, and there is none"),
            ("partition.assignment.strategy", List, "", "Of a group, and there is none"),
            ("group.id", Text, "", "Of a group, and there is none"),
            ("group.instance.id", Text, "", "Of a group, and there is none"),
            ("group.protocol", Text, "classic", "Of a group, and there is none"),
            ("group.remote.assignor", Text, "", "Of a group, and there is none"),
            ("key.deserializer", Class, "", "Reader of keys"),
            ("value.deserializer", Class, "", "Reader of values"),
        ],
    },
    Group {
        scopes: &[Consumer],
        status: Unsupported("reads go to the leader in this version"),
        rows: &[("client.rack", Text, "", "Rack of the reader")],
    },
    Group {
        scopes: &[Producer],
        status: Needless(OWN_CLIENT),
        rows: &[
            ("acks", OneOf(&["all", "-1", "0", "1"]), "all", "Always all"),
            ("linger.ms", MILLIS, "0", "How long records wait for company"),
            ("batch.size", BYTES, "16384", "How large batches grow"),
            ("buffer.memory", Bytes(0, i64::MAX), "33554432", "See kmirror.memory.bytes"),
            ("max.request.size", BYTES, "1048576", "Size of a request"),
            ("max.block.ms", MILLIS, "", "How long sending may block"),
            ("delivery.timeout.ms", MILLIS, "", "How long delivery may take"),
            ("max.in.flight.requests.per.connection", Number(1, INT_MAX), "1", "Requests without an answer"),
            ("enable.idempotence", Bool, "false", "Whether duplicates are refused"),
            ("transaction.timeout.ms", MILLIS, "60000", "Of transactions, and there are none"),
            ("transactional.id", Text, "", "Of transactions, and there are none"),
            ("metadata.max.idle.ms", MILLIS, "300000", "How long metadata is kept"),
            ("partitioner.class", Class, "", "Partitions stay as they are"),
            ("partitioner.ignore.keys", Bool, "false", "Partitions stay as they are"),
            ("partitioner.adaptive.partitioning.enable", Bool, "true", "Partitions stay as they are"),
            ("partitioner.availability.timeout.ms", MILLIS, "0", "Partitions stay as they are"),
            ("key.serializer", Class, "", "Writer of keys"),
            ("value.serializer", Class, "", "Writer of values"),
        ],
    },
    Group {
        scopes: &[Producer],
        status: Unsupported("records keep the source's compression"),
        rows: &[
            ("compression.type", OneOf(&["none", "gzip", "snappy", "lz4", "zstd"]), "none", "Compression of records"),
            ("compression.gzip.level", ANY, "", "How hard to try"),
            ("compression.lz4.level", ANY, "", "How hard to try"),
            ("compression.zstd.level", ANY, "", "How hard to try"),
        ],
    },
    Group {
        scopes: &[Consumer, Producer],
        status: Unsupported(NO_JAVA),
        rows: &[("interceptor.classes", List, "", "Interceptors")],
    },
    Group {
        scopes: &[Consumer, Producer, Admin],
        status: Needless("X.client.id names all clients of a cluster"),
        rows: &[("client.id", Text, "", "What one client calls itself")],
    },
    Group {
        scopes: &[Consumer, Producer, Admin],
        status: Needless(OWN_CLIENT),
        rows: &[
            ("client.dns.lookup", Text, "use_all_dns_ips", "How names are resolved"),
            ("metadata.max.age.ms", MILLIS, "300000", "When metadata is fetched again"),
            ("metadata.recovery.strategy", Text, "none", "What to do when no broker is known"),
            ("metadata.recovery.rebootstrap.trigger.ms", MILLIS, "300000", "When that is done"),
            ("send.buffer.bytes", SIZE, "131072", "Of the socket"),
            ("receive.buffer.bytes", SIZE, "65536", "Of the socket"),
            ("reconnect.backoff.ms", MILLIS, "50", "Pause before a new connection"),
            ("reconnect.backoff.max.ms", MILLIS, "1000", "Longest such pause"),
            ("retries", Number(0, INT_MAX), "2147483647", "Failures are retried until they are cured"),
            ("retry.backoff.ms", MILLIS, "100", "Pause before a retry"),
            ("retry.backoff.max.ms", MILLIS, "1000", "Longest such pause"),
            ("connections.max.idle.ms", MILLIS, "540000", "When idle connections are closed"),
            ("socket.connection.setup.timeout.ms", MILLIS, "10000", "How long connecting may take"),
            ("socket.connection.setup.timeout.max.ms", MILLIS, "30000", "Longest such time"),
            ("request.timeout.ms", MILLIS, "30000", "See kmirror.request.timeout.ms"),
            ("default.api.timeout.ms", MILLIS, "60000", "See kmirror.request.timeout.ms"),
            ("enable.metrics.push", Bool, "true", "Whether metrics go to the brokers"),
            ("metrics.sample.window.ms", MILLIS, "30000", "Of JMX metrics"),
            ("metrics.num.samples", Number(1, INT_MAX), "2", "Of JMX metrics"),
            ("metrics.recording.level", Text, "INFO", "Of JMX metrics"),
            ("metric.reporters", List, "", "Of JMX metrics"),
        ],
    },
];

const BYTE_ARRAY: &str = "org.apache.kafka.connect.converters.ByteArrayConverter";

const PROPERTIES_EXCLUDE: &str = concat!(
    r"follower\\.replication\\.throttled\\.replicas, ",
    r"leader\\.replication\\.throttled\\.replicas, ",
    r"message\\.timestamp\\.difference\\.max\\.ms, ",
    r"message\\.timestamp\\.type, ",
    r"unclean\\.leader\\.election\\.enable, ",
    r"min\\.insync\\.replicas",
);

// One row a line, as above.
#[rustfmt::skip]
const KERBEROS: &[Row] = &[
    ("sasl.kerberos.service.name", Text, "", "Kerberos principal of the brokers"),
    ("sasl.kerberos.kinit.cmd", Text, "/usr/bin/kinit", "Kerberos command"),
    ("sasl.kerberos.ticket.renew.window.factor", Fraction, "0.8", "When a ticket is renewed"),
    ("sasl.kerberos.ticket.renew.jitter", Fraction, "0.05", "Spread of that time"),
    ("sasl.kerberos.min.time.before.relogin", MILLIS, "60000", "Shortest time between logins"),
];

// One row a line, as above.
#[rustfmt::skip]
const OAUTH: &[Row] = &[
    ("sasl.login.refresh.window.factor", Fraction, "0.8", "When a token is renewed"),
    ("sasl.login.refresh.window.jitter", Fraction, "0.05", "Spread of that time"),
    ("sasl.login.refresh.min.period.seconds", SECONDS, "60", "Shortest time between renewals"),
    ("sasl.login.refresh.buffer.seconds", SECONDS, "300", "Time left at a renewal"),
    ("sasl.login.retry.backoff.ms", MILLIS, "100", "Pause before a retry"),
    ("sasl.login.retry.backoff.max.ms", MILLIS, "10000", "Longest such pause"),
    ("sasl.oauthbearer.scope.claim.name", Text, "scope", "Claim of the scope"),
    ("sasl.oauthbearer.sub.claim.name", Text, "sub", "Claim of the subject"),
    ("sasl.oauthbearer.jwks.endpoint.url", Text, "", "Where keys come from"),
    ("sasl.oauthbearer.jwks.endpoint.refresh.ms", MILLIS, "3600000", "How often"),
    ("sasl.oauthbearer.jwks.endpoint.retry.backoff.ms", MILLIS, "100", "Pause before a retry"),
    ("sasl.oauthbearer.jwks.endpoint.retry.backoff.max.ms", MILLIS, "10000", "Longest such pause"),
    ("sasl.oauthbearer.clock.skew.seconds", SECONDS, "30", "Tolerated difference of clocks"),
    ("sasl.oauthbearer.expected.audience", List, "", "Audience of tokens"),
    ("sasl.oauthbearer.expected.issuer", Text, "", "Issuer of tokens"),
];
