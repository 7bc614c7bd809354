mod provided;

use secrecy::ExposeSecret as _;

use super::*;
use crate::policy::{Decision, PolicyKind, SkipReason, StartAt};

type Outcome = Result<(Config, Vec<Notice>), Mistakes>;

fn parse(text: &str) -> Outcome {
    Config::parse("mm2.properties", text.as_bytes(), &ParseOptions::default())
}

fn lines<T: ToString>(findings: &[T]) -> Vec<String> {
    findings.iter().map(ToString::to_string).collect()
}

/// Two clusters and a flow, lines 1 to 4; what is tested starts in line 5.
fn with(text: &str) -> Outcome {
    parse(&format!(
        "clusters = a, b\na.bootstrap.servers = a:9092\nb.bootstrap.servers = b:9092\n\
         a->b.enabled = true\n{text}"
    ))
}

fn flow(text: &str) -> FlowConfig {
    let (config, _) = with(text).unwrap();
    config.flows.into_iter().next().unwrap()
}

fn notices(text: &str) -> Vec<String> {
    lines(&with(text).unwrap().1)
}

fn errors(outcome: Outcome) -> Vec<String> {
    lines(&outcome.unwrap_err().errors)
}

#[test]
fn a_file_as_kafka_ships_it_runs_with_notices() {
    let bytes = include_bytes!("../../tests/fixtures/two_way.properties");
    let options = ParseOptions::default();
    let (config, notices) = Config::parse("mm2.properties", bytes, &options).unwrap();

    let pairs: Vec<_> = config
        .flows
        .iter()
        .map(|f| (&*f.source, &*f.target))
        .collect();
    assert_eq!(pairs, [("east", "west"), ("west", "east")]);
    let servers: Vec<String> = config.clusters[0]
        .bootstrap
        .iter()
        .map(HostPort::to_string)
        .collect();
    assert_eq!(
        servers,
        [
            "east-1.example:9092",
            "east-2.example:9092",
            "east-3.example:9092"
        ]
    );
    let back = &config.flows[1];
    assert_eq!(back.replication_factor, Some(1));
    assert_eq!(
        back.offsets_topic,
        OffsetsTopic {
            name: "mm2-offsets.west.internal".to_owned(),
            partitions: Some(25),
            replication_factor: Some(1),
            properties: BTreeMap::new(),
        }
    );
    for (topic, expected) in [
        ("orders.eu", Decision::Wanted),
        ("orders.tmp", Decision::Skipped(SkipReason::Excluded)),
        ("east.orders", Decision::Skipped(SkipReason::Cycle)),
    ] {
        let decision = back.topic_filter.wanted(&back.policy, &back.target, topic);
        assert_eq!(decision, Ok(expected), "{topic}");
    }
    let expected = "\
mm2.properties:25: status.storage.replication.factor: has no effect: the status and config topics of Connect are not used
mm2.properties:26: config.storage.replication.factor: has no effect: the status and config topics of Connect are not used
mm2.properties:31: tasks.max: has no effect: one process copies all partitions in parallel";
    assert_eq!(lines(&notices).join("\n"), expected);
}

#[test]
fn every_mistake_is_reported_in_one_run_and_no_secret_is() {
    let bytes = include_bytes!("../../tests/fixtures/mistakes.properties");
    let outcome = Config::parse("mm2.properties", bytes, &ParseOptions::default());
    let expected = r#"mm2.properties: a.sasl.mechanism: GSSAPI, which is also the default, needs Kerberos libraries, and a static binary can load none; use PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 or OAUTHBEARER, or certificates with SSL
mm2.properties: b.bootstrap.servers: is missing; write b.bootstrap.servers = host:9092
mm2.properties: b.sasl.mechanism: GSSAPI, which is also the default, needs Kerberos libraries, and a static binary can load none; use PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 or OAUTHBEARER, or certificates with SSL
mm2.properties:1: clusters: "c d" cannot be an alias; use letters, digits, '.', '_' and '-'
mm2.properties:1: clusters: the alias "b" is listed twice
mm2.properties:2: a.bootstrap.servers: "a-2" has no port; write host:port
mm2.properties:3: a.bootstrap.servers: "a-3:0" has a bad port, which must be a number from 1 to 65535; write host:port
mm2.properties:6: a->b.topics: item 2, character 8: malformed repetition; a plain '{' is written '\{'; a comma ends the item, even in {1,3}
mm2.properties:8: a->b.topics.exclude: item 1, character 3: the flag 'x' is not supported
mm2.properties:9: a->b.replication.factor: "two # as many as brokers" must be a whole number from -1 to 32767; a comment needs a line of its own
mm2.properties:10: a->b.replication.policy.separator: ":" cannot stand in a topic name; use letters, digits, '.', '_' or '-', and no blank after them
mm2.properties:11: a->a.enabled: source and target of a flow are the same cluster; remove the line
mm2.properties:12: kmirror.memory.byts: is not a setting; did you mean kmirror.memory.bytes?
mm2.properties:13: kmirror.request.timeout.ms: "0" must be a number of milliseconds, at least 1
mm2.properties:17: config.providers.vault.class: the config provider "com.example.Vault" is not known, and Java classes cannot be loaded; have the values put into a file, a directory or the environment, and use org.apache.kafka.common.config.provider.FileConfigProvider, DirectoryConfigProvider or EnvVarConfigProvider"#;
    assert_eq!(errors(outcome).join("\n"), expected);
}

#[test]
fn absent_settings_have_the_defaults_of_the_table() {
    let (config, notices) = with("").unwrap();
    assert_eq!(notices, []);
    assert_eq!(
        config.limits,
        Limits {
            memory_bytes: 32 * 1024 * 1024,
            request_timeout: Duration::from_secs(30),
            shutdown_timeout: Duration::from_secs(10),
        }
    );
    assert_eq!(config.cluster("a").unwrap().client_id, "kmirror");
    let flow = &config.flows[0];
    assert_eq!(flow.policy, ReplicationPolicy::prefixing());
    assert_eq!(flow.replication_factor, Some(2));
    assert_eq!(flow.use_defaults_from, DefaultsFrom::Target);
    assert_eq!(flow.starts.default, StartAt::Earliest);
    assert_eq!(flow.isolation, Isolation::ReadCommitted);
    assert_eq!(flow.discovery_interval, Some(Duration::from_secs(3)));
    assert_eq!(flow.positions_interval, Duration::from_secs(1));
    assert_eq!(
        flow.fetch,
        FetchLimits {
            bytes_max: 8 * 1024 * 1024,
            partition_bytes_max: 1024 * 1024,
            connections_per_broker: 2,
        }
    );
    assert_eq!(flow.delivery, Delivery::ExactlyOnce);
    assert_eq!(flow.on_gap, OnGap::Continue);
    assert_eq!(flow.on_recreated, OnRecreated::Halt);
    assert_eq!(flow.adopt, Adopt::Ask);
    assert_eq!(flow.state_replication_factor, Some(3));
    assert_eq!(flow.quiesce, Duration::from_secs(5));
    assert_eq!(flow.lease, Duration::from_secs(10));
    assert_eq!(
        flow.anchors,
        AnchorSpacing {
            interval: Duration::from_secs(5),
            bytes: 8 * 1024 * 1024,
        }
    );
    let excluded = ["min.insync.replicas", "message.timestamp.type"];
    for name in excluded {
        assert_eq!(flow.property_filter.is_copied(name), Ok(false), "{name}");
    }
    assert_eq!(flow.property_filter.is_copied("retention.ms"), Ok(true));
    let decide = |topic| flow.topic_filter.wanted(&flow.policy, "b", topic).unwrap();
    assert_eq!(decide("orders.internal"), Decision::Wanted);
    assert_eq!(decide("x.replica"), Decision::Skipped(SkipReason::Excluded));
}

#[test]
fn settings_reach_the_flow_by_mirror_makers_layers() {
    let factor = |text| flow(text).replication_factor;
    assert_eq!(factor("replication.factor = 5"), Some(5));
    assert_eq!(
        factor("replication.factor = 5\na->b.replication.factor = 3"),
        Some(3)
    );
    assert_eq!(factor("a->b.replication.factor = -1"), None);
    assert_eq!(factor("b.replication.factor = 5"), Some(2));

    let isolation = |text: &str| flow(text).isolation;
    let uncommitted = Isolation::ReadUncommitted;
    for key in ["a.consumer", "a->b.consumer", "a->b.source.consumer"] {
        let text = format!("{key}.isolation.level = read_uncommitted");
        assert_eq!(isolation(&text), uncommitted, "{key}");
    }
    for key in ["consumer", "b.consumer", "a->b.target.consumer", "a"] {
        let text = format!("{key}.isolation.level = read_uncommitted");
        assert_eq!(isolation(&text), Isolation::ReadCommitted, "{key}");
    }
    let both = "a.consumer.isolation.level = read_uncommitted\n\
                a->b.consumer.isolation.level = read_committed";
    assert_eq!(isolation(both), uncommitted);

    let topic = |text| flow(text).offsets_topic.name;
    assert_eq!(topic("b.offset.storage.topic = own"), "own");
    assert_eq!(
        topic("offset.storage.topic = top\nb.offset.storage.topic = own"),
        "top"
    );
    assert_eq!(
        topic("a->b.offset.storage.topic = own"),
        "mm2-offsets.a.internal"
    );
}

#[test]
fn our_settings_win_over_the_ones_they_replace() {
    let fetch = |text| flow(text).fetch;
    let kafka = "a.consumer.fetch.max.bytes = 7\na.consumer.max.partition.fetch.bytes = 5\n";
    assert_eq!(
        (fetch(kafka).bytes_max, fetch(kafka).partition_bytes_max),
        (7, 5)
    );
    let own =
        format!("{kafka}kmirror.fetch.max.bytes = 9\na->b.kmirror.partition.fetch.max.bytes = 8");
    assert_eq!(
        (fetch(&own).bytes_max, fetch(&own).partition_bytes_max),
        (9, 8)
    );

    let interval = |text| flow(text).positions_interval.as_millis();
    assert_eq!(interval("b.offset.flush.interval.ms = 5000"), 5000);
    assert_eq!(interval("offset.flush.interval.ms = 5000"), 1000);
    let both = "b.offset.flush.interval.ms = 5000\nkmirror.positions.interval.ms = 70";
    assert_eq!(interval(both), 70);

    assert_eq!(
        flow("refresh.topics.enabled = false").discovery_interval,
        None
    );
    assert_eq!(
        flow("a.consumer.auto.offset.reset = latest").starts.default,
        StartAt::Latest
    );
    assert_eq!(
        flow("use.defaults.from = source").use_defaults_from,
        DefaultsFrom::Source
    );
}

#[test]
fn where_partitions_begin_is_set_for_all_and_for_topics() {
    let text = "a.consumer.auto.offset.reset = latest\n\
                kmirror.start = group:g\n\
                a->b.kmirror.start.topics = orders:1=offset:7, orders=earliest, p\\\\..*=group:h";
    let starts = flow(text).starts;
    let group = |group: &str, otherwise| StartAt::Group {
        group: std::sync::Arc::from(group),
        otherwise: Box::new(otherwise),
    };
    let by_default = group("g", StartAt::Latest);
    assert_eq!(starts.of("other", 0), &by_default);
    assert_eq!(starts.of("orders", 1), &StartAt::Offset(7));
    assert_eq!(starts.of("orders", 2), &StartAt::Earliest);
    assert_eq!(starts.of("p.x", 2), &group("h", by_default));
    assert_eq!(
        errors(with("kmirror.start = newest")),
        [
            "mm2.properties:5: kmirror.start: \"newest\" must be earliest, latest, \
             timestamp:2026-03-01T06:00:00Z, offset:N or group:NAME"
        ]
    );
    let hint = "write TOPIC=START or TOPIC:PARTITION=START between commas";
    for (item, problem) in [
        ("t", "has no '='"),
        (
            "t=offset:x",
            "must be offset:N with a whole number that is not negative",
        ),
        ("t=group:", "names no group: write group:NAME"),
    ] {
        let line = format!("kmirror.start.topics = a=latest, {item}");
        let expected =
            format!("mm2.properties:5: kmirror.start.topics: {item:?}: {problem}; {hint}");
        assert_eq!(errors(with(&line)), [expected]);
    }
    let bad_pattern = errors(with("kmirror.start.topics = t(=latest"));
    assert!(
        bad_pattern[0].contains("the topics are not understood: item 1, character"),
        "{bad_pattern:?}"
    );
}

#[test]
fn delivery_and_what_becomes_of_doubt_are_set_per_flow_or_for_all() {
    let delivery = |value| flow(&format!("kmirror.delivery = {value}")).delivery;
    assert_eq!(delivery("exactly-once"), Delivery::ExactlyOnce);
    assert_eq!(delivery("at-least-once"), Delivery::AtLeastOnce);
    assert_eq!(delivery("transactional"), Delivery::Transactional);
    let adopt = |value| flow(&format!("a->b.kmirror.adopt = {value}")).adopt;
    assert_eq!(adopt("ask"), Adopt::Ask);
    assert_eq!(adopt("prove"), Adopt::Prove);
    assert_eq!(adopt("stored"), Adopt::Stored);
    assert_eq!(adopt("earliest"), Adopt::Earliest);
    assert_eq!(adopt("latest"), Adopt::Latest);
    let on_gap = |text| flow(text).on_gap;
    assert_eq!(on_gap("kmirror.on-gap = halt"), OnGap::Halt);
    let both = "kmirror.on-gap = halt\na->b.kmirror.on-gap = continue";
    assert_eq!(on_gap(both), OnGap::Continue);
    let on_recreated = |text| flow(text).on_recreated;
    assert_eq!(
        on_recreated("kmirror.on-recreated = append"),
        OnRecreated::Append
    );
    let other = "b->a.kmirror.on-recreated = append";
    assert_eq!(on_recreated(other), OnRecreated::Halt);

    let times = flow(
        "kmirror.quiesce.ms = 0\nkmirror.lease.ms = 2000\na->b.kmirror.lease.ms = 3000\n\
         kmirror.anchor.interval.ms = 70\nkmirror.anchor.bytes = 1000",
    );
    assert_eq!(times.quiesce, Duration::ZERO);
    assert_eq!(times.lease, Duration::from_secs(3));
    assert_eq!(times.anchors.interval, Duration::from_millis(70));
    assert_eq!(times.anchors.bytes, 1000);
}

#[test]
fn transactions_have_an_id_of_the_flow_and_last_until_positions_are_stored() {
    let transactions = |text| flow(text).transactions;
    let usual = transactions("kmirror.delivery = transactional");
    assert_eq!(usual.transactional_id, "kmirror-a-b");
    assert_eq!(usual.timeout, Duration::from_secs(60));
    let own = "kmirror.transactional.id = x\nkmirror.transaction.timeout.ms = 2000";
    assert_eq!(transactions(own).transactional_id, "x");
    assert_eq!(transactions(own).timeout, Duration::from_secs(2));
    let short = "kmirror.transaction.timeout.ms = 1999";
    assert_eq!(transactions(short).timeout, Duration::from_millis(1_999));
    let both = format!("{short}\nkmirror.delivery = transactional");
    assert_eq!(
        errors(with(&both)),
        [
            "mm2.properties:5: kmirror.transaction.timeout.ms: a transaction lasts until positions \
             are stored, 1000 ms; make it at least twice as long as kmirror.positions.interval.ms"
        ]
    );
}

#[test]
fn what_is_left_under_offset_storage_are_properties_of_a_new_topic() {
    let text = "b.offset.storage.topic = own\n\
                b.offset.storage.partitions = 1\n\
                b.offset.storage.replication.factor = 1\n\
                b.offset.storage.cleanup.policy = delete\n\
                b.offset.storage.segment.bytes = 1048576\n\
                offset.storage.segment.bytes = 2097152\n\
                offset.storage.min.insync.replicas = 2\n\
                a.offset.storage.retention.ms = 1";
    let properties = flow(text).offsets_topic.properties;
    let properties: Vec<_> = properties
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    assert_eq!(
        properties,
        [("min.insync.replicas", "2"), ("segment.bytes", "2097152")]
    );
}

#[test]
fn the_state_topic_is_replicated_like_the_offsets_topic_unless_it_has_its_own_factor() {
    let factor = |text| flow(text).state_replication_factor;
    assert_eq!(factor("offset.storage.replication.factor = 1"), Some(1));
    assert_eq!(factor("b.offset.storage.replication.factor = -1"), None);
    assert_eq!(
        factor("kmirror.state.topic.replication.factor = 2"),
        Some(2)
    );
    let both = "offset.storage.replication.factor = 1\n\
                kmirror.state.topic.replication.factor = 2\n\
                a->b.kmirror.state.topic.replication.factor = -1";
    assert_eq!(factor(both), None);
}

#[test]
fn choices_that_are_none_are_refused() {
    let cases = [
        (
            "kmirror.delivery = exactly_once",
            "\"exactly_once\" must be exactly-once or at-least-once or transactional",
        ),
        (
            "a->b.kmirror.on-gap = skip",
            "\"skip\" must be continue or halt",
        ),
        (
            "kmirror.on-recreated = Append",
            "\"Append\" must be halt or append",
        ),
        (
            "kmirror.adopt = yes",
            "\"yes\" must be ask or prove or stored or earliest or latest",
        ),
        (
            "kmirror.lease.ms = 1",
            "\"1\" must be a number of milliseconds, at least 1000",
        ),
        (
            "b.exactly.once.source.support = maybe",
            "\"maybe\" must be disabled or preparing or enabled",
        ),
        (
            "kmirror.on.gap = halt",
            "is not a setting; did you mean kmirror.on-gap?",
        ),
    ];
    for (text, expected) in cases {
        let key = text.split(" =").next().unwrap();
        let expected = format!("mm2.properties:5: {key}: {expected}");
        assert_eq!(errors(with(text)), [expected]);
    }
}

#[test]
fn mirror_makers_exactly_once_changes_nothing_and_says_so() {
    for value in ["disabled", "preparing", "enabled", "ENABLED"] {
        let text = format!("b.exactly.once.source.support = {value}");
        assert_eq!(flow(&text).delivery, Delivery::ExactlyOnce);
        assert_eq!(
            notices(&text),
            [
                "mm2.properties:5: b.exactly.once.source.support: has no effect: delivery is \
                 exactly-once, without transactions; kmirror.delivery = transactional uses them"
            ]
        );
        let both = format!("{text}\nkmirror.delivery = at-least-once");
        assert_eq!(flow(&both).delivery, Delivery::AtLeastOnce);
    }
}

#[test]
fn replication_policies_go_by_their_java_names() {
    for package in [
        "org.apache.kafka.connect.mirror",
        "io.strimzi.kafka.connect.mirror",
    ] {
        let text = format!("replication.policy.class = {package}.IdentityReplicationPolicy");
        assert_eq!(flow(&text).policy, ReplicationPolicy::identity(Some("a")));
    }
    let underscore = flow("replication.policy.separator = _");
    assert_eq!(underscore.policy.kind(), PolicyKind::Default);
    assert_eq!(underscore.policy.remote_topic("a", "t"), "a_t");
    assert_eq!(
        underscore.policy.checkpoints_topic("a"),
        "a_checkpoints_internal"
    );
    let text = "replication.policy.separator = _\n\
                replication.policy.internal.topic.separator.enabled = false";
    assert_eq!(
        flow(text).policy.checkpoints_topic("a"),
        "a.checkpoints.internal"
    );

    assert_eq!(
        errors(with("replication.policy.class = com.example.Own")),
        [
            "mm2.properties:5: replication.policy.class: this replication policy is not known, and \
          Java classes cannot be loaded; use \
          org.apache.kafka.connect.mirror.DefaultReplicationPolicy or \
          org.apache.kafka.connect.mirror.IdentityReplicationPolicy"
        ]
    );
    assert_eq!(
        errors(with("replication.policy.separator = - ")),
        [
            "mm2.properties:5: replication.policy.separator: \"- \" cannot stand in a topic name; \
          use letters, digits, '.', '_' or '-', and no blank after them"
        ]
    );
}

#[test]
fn an_alias_may_not_contain_the_separator_of_the_default_policy() {
    let text = |more: &str| {
        format!(
            "clusters = us.west, eu\nus.west.bootstrap.servers = u:1\neu.bootstrap.servers = e:1\n\
             us.west->eu.enabled = true\n{more}"
        )
    };
    assert_eq!(
        errors(parse(&text(""))),
        [
            "mm2.properties:1: clusters: the alias \"us.west\" contains the separator \".\"; \
          rename the alias or set replication.policy.separator"
        ]
    );
    assert!(parse(&text("replication.policy.separator = -")).is_ok());
    let identity = "replication.policy.class = \
                    org.apache.kafka.connect.mirror.IdentityReplicationPolicy";
    assert!(parse(&text(identity)).is_ok());
}

#[test]
fn a_topic_that_would_come_back_under_its_name_is_left_alone() {
    let text = |more: &str| {
        format!(
            "clusters = a, b, c\na.bootstrap.servers = a:1\nb.bootstrap.servers = b:1\n\
             c.bootstrap.servers = c:1\na->b.enabled = true\ntopics = t.*\n\
             emit.heartbeats.enabled = false\n\
             replication.policy.class = org.apache.kafka.connect.mirror.IdentityReplicationPolicy\n\
             {more}\n"
        )
    };
    let cases = [
        ("one way", "", Decision::Wanted),
        (
            "back",
            "b->a.enabled = true",
            Decision::Skipped(SkipReason::Loop),
        ),
        (
            "back through another",
            "b->c.enabled = true\nc->a.enabled = true",
            Decision::Skipped(SkipReason::Loop),
        ),
        ("on and not back", "b->c.enabled = true", Decision::Wanted),
        (
            "other topics come back",
            "b->a.enabled = true\nb->a.topics = u.*",
            Decision::Wanted,
        ),
        (
            "it is excluded on the way back",
            "b->a.enabled = true\nb->a.topics.exclude = t1",
            Decision::Wanted,
        ),
        (
            "back under another name",
            "b->a.enabled = true\nb->a.replication.policy.class = \
             org.apache.kafka.connect.mirror.DefaultReplicationPolicy",
            Decision::Wanted,
        ),
    ];
    for (case, more, expected) in cases {
        for clusters_served in [None, Some(vec![String::from("b")])] {
            let options = ParseOptions { clusters_served };
            let (config, _) = Config::parse("f", text(more).as_bytes(), &options).unwrap();
            let flow = config.flows.iter().find(|flow| flow.source == "a").unwrap();
            let decision = flow.topic_filter.wanted(&flow.policy, "b", "t1").unwrap();
            assert_eq!(decision, expected, "{case}");
        }
    }
}

#[test]
fn acls_are_removed_only_where_remote_topics_have_names_of_their_own() {
    let default = AclsConfig {
        interval: Duration::from_secs(600),
        prefixed: false,
        groups: false,
        remove: false,
    };
    assert_eq!(flow("").acls, Some(default));
    assert_eq!(flow("sync.topic.acls.enabled = false").acls, None);
    let remove = "kmirror.sync.acls.remove = true";
    let all = format!(
        "{remove}\nkmirror.sync.acls.prefixed = true\nkmirror.sync.acls.groups = true\n\
         sync.topic.acls.interval.seconds = 0"
    );
    let expected = AclsConfig {
        interval: Duration::from_secs(1),
        prefixed: true,
        groups: true,
        remove: true,
    };
    assert_eq!(flow(&all).acls, Some(expected));
    let identity = "replication.policy.class = \
                    org.apache.kafka.connect.mirror.IdentityReplicationPolicy";
    assert_eq!(
        errors(with(&format!("{identity}\n{remove}"))),
        [
            "mm2.properties:6: kmirror.sync.acls.remove: under this policy the target's own ACLs \
          look like copied ones, and would be removed; set it to false for this flow, and remove \
          by hand what is to go"
        ]
    );
    let off = format!("{identity}\n{remove}\nsync.topic.acls.enabled = false");
    assert_eq!(flow(&off).acls, None);
}

#[test]
fn old_names_keep_excluding() {
    let decide = |text: &str, topic: &str| {
        let flow = flow(text);
        flow.topic_filter.wanted(&flow.policy, "b", topic).unwrap()
    };
    let excluded = Decision::Skipped(SkipReason::Excluded);
    assert_eq!(decide("topics.blacklist = secret.*", "secret1"), excluded);
    let both = "a->b.topics.blacklist = secret.*\ntopics.exclude = other";
    assert_eq!(decide(both, "secret1"), Decision::Wanted);
    assert_eq!(decide(both, "other"), excluded);
    assert_eq!(
        notices("topics.blacklist = secret.*"),
        [
            "mm2.properties:5: topics.blacklist: is the old name of topics.exclude; rename it; \
          both set, the new name wins"
        ]
    );
}

#[test]
fn a_flow_runs_when_mirror_maker_would_run_it() {
    let base = "clusters = a, b\na.bootstrap.servers = a:1\nb.bootstrap.servers = b:1\n";
    let cases = [
        ("a->b.enabled = true", "a->b"),
        ("a->b.enabled = TRUE", "a->b"),
        ("a->b.enabled = false", ""),
        ("", ""),
        ("a->c.enabled = true", ""),
        ("enabled = true", "a->b b->a"),
        ("enabled = true\nb->a.enabled = false", "a->b"),
        ("enabled = true\nemit.heartbeats.enabled = false", ""),
        // The blank counts only where nothing but the flow's own line lets it exist.
        ("a->b.enabled = true ", "a->b"),
        ("a->b.enabled = true \nemit.heartbeats.enabled = false", ""),
        (
            "a->b.enabled = true \na->b.emit.heartbeats.enabled = false",
            "",
        ),
        (
            "a->b.enabled = true\nemit.heartbeats.enabled = false",
            "a->b",
        ),
    ];
    for (text, expected) in cases {
        let flows = match parse(&format!("{base}{text}")) {
            Ok((config, _)) => config.flows,
            Err(errors) => {
                let none = "mm2.properties: no flow is enabled; write a->b.enabled = true";
                assert_eq!(lines(&errors.errors), [none], "{text}");
                Vec::new()
            }
        };
        let names: Vec<String> = flows
            .iter()
            .map(|f| format!("{}->{}", f.source, f.target))
            .collect();
        assert_eq!(names.join(" "), expected, "{text}");
    }
}

#[test]
fn clusters_served_are_targets() {
    let text = "clusters = a, b, c\na.bootstrap.servers = a:1\nb.bootstrap.servers = b:1\n\
                c.bootstrap.servers = c:1\na->b.enabled = true\na->c.enabled = true";
    let serve = |aliases: &[&str]| {
        let options = ParseOptions {
            clusters_served: Some(aliases.iter().map(|&a| a.to_owned()).collect()),
        };
        Config::parse("mm2.properties", text.as_bytes(), &options)
    };
    let (config, _) = serve(&["c"]).unwrap();
    let targets: Vec<_> = config.flows.iter().map(|flow| &*flow.target).collect();
    let clusters: Vec<_> = config
        .clusters
        .iter()
        .map(|cluster| &*cluster.alias)
        .collect();
    assert_eq!((targets, clusters), (vec!["c"], vec!["a", "b", "c"]));
    let pairs = |config: &Config| -> Vec<(String, String)> {
        let each = config.heartbeats.iter();
        each.map(|it| (it.source.clone(), it.target.clone()))
            .collect()
    };
    let pair = |source: &str, target: &str| (source.to_owned(), target.to_owned());
    assert_eq!(pairs(&config), [pair("a", "c"), pair("b", "c")]);
    // Where nothing is copied to, heartbeats are all there is to do.
    let (config, notices) = serve(&["a"]).unwrap();
    assert!(config.flows.is_empty());
    assert_eq!(pairs(&config), [pair("b", "a"), pair("c", "a")]);
    assert_eq!(
        lines(&notices),
        [
            "mm2.properties: --clusters: no enabled flow has one of these targets: only heartbeats are emitted"
        ]
    );
    let quiet = format!("{text}\nemit.heartbeats.enabled = false");
    let options = ParseOptions {
        clusters_served: Some(vec!["a".to_owned()]),
    };
    assert_eq!(
        errors(Config::parse("mm2.properties", quiet.as_bytes(), &options)),
        [
            "mm2.properties: --clusters: no enabled flow has one of these targets; name a target of a flow"
        ]
    );
    assert_eq!(
        errors(serve(&["b", "d"])),
        ["mm2.properties: --clusters: \"d\" is not in clusters; known: a, b, c"]
    );
}

#[test]
fn a_file_without_clusters_says_what_to_write() {
    let hint = "write clusters = A, B with the aliases of your clusters";
    assert_eq!(
        errors(parse("")),
        [format!("mm2.properties: clusters: is missing; {hint}")]
    );
    assert_eq!(
        errors(parse("clusters =")),
        [format!("mm2.properties:1: clusters: is empty; {hint}")]
    );
    assert_eq!(
        errors(parse("clusters = a\na.bootstrap.servers = a:1")),
        ["mm2.properties: no flow is enabled; a flow needs two clusters"]
    );
    let listed = "clusters = a, , b\na.bootstrap.servers = a:1\nb.bootstrap.servers = b:1\n\
                  a->b.enabled = true";
    assert_eq!(
        errors(parse(listed)),
        ["mm2.properties:1: clusters: an alias is empty; remove the comma"]
    );
    assert_eq!(
        errors(parse("k = \\u12")),
        [
            r"mm2.properties:1: \u must be followed by four hexadecimal digits; a backslash is written \\"
        ]
    );
}

#[test]
fn a_missing_file_is_an_error_that_names_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("absent.properties");
    let found = errors(Config::load(&path, &ParseOptions::default()));
    let start = format!("{}: cannot read the file: ", path.display());
    assert!(
        found.len() == 1 && found[0].starts_with(&start),
        "{found:?}"
    );

    std::fs::write(
        &path,
        include_bytes!("../../tests/fixtures/two_way.properties"),
    )
    .unwrap();
    let (config, _) = Config::load(&path, &ParseOptions::default()).unwrap();
    assert_eq!(config.flows.len(), 2);
}

#[test]
fn addresses_are_read_as_kafka_reads_them() {
    let cases = [
        ("h:1", Some(("h", 1))),
        ("PLAINTEXT://h:65535", Some(("h", 65535))),
        ("10.0.0.1:9092", Some(("10.0.0.1", 9092))),
        ("[::1]:9092", Some(("::1", 9092))),
        ("h", None),
        ("h:", None),
        (":1", None),
        ("h:0", None),
        ("h:65536", None),
        ("h:x", None),
        ("[::1:9092", None),
        ("h h:1", None),
        (",h:1", None),
    ];
    for (text, expected) in cases {
        let file = format!(
            "clusters = a, b\na.bootstrap.servers = {text}\nb.bootstrap.servers = b:1\n\
             a->b.enabled = true"
        );
        let found = parse(&file)
            .ok()
            .map(|(config, _)| config.clusters[0].bootstrap[0].clone());
        let expected = expected.map(|(host, port)| HostPort {
            host: host.to_owned(),
            port,
        });
        assert_eq!(found, expected, "{text}");
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table of cases")]
fn what_mirror_maker_ignores_in_silence_gets_a_notice() {
    let cases = [
        (
            "offset.flush.interval.ms = 5",
            "has no effect in this place; write b.offset.flush.interval.ms",
        ),
        (
            "b.topics = x",
            "has no effect in this place; write a->b.topics or topics",
        ),
        (
            "b.tasks.max = 2",
            "has no effect in this place; write a->b.tasks.max or tasks.max",
        ),
        (
            "consumer.max.poll.records = 5",
            "has no effect in this place; write a.consumer.max.poll.records or a->b.source.consumer.max.poll.records",
        ),
        (
            "producer.linger.ms = 5",
            "has no effect in this place; write b.producer.linger.ms or a->b.producer.override.linger.ms",
        ),
        (
            "a.max.poll.records = 5",
            "has no effect in this place; write b.consumer.max.poll.records or b->a.source.consumer.max.poll.records",
        ),
        (
            "topic.creation.groups = g",
            "has no effect in this place; write a->b.topic.creation.groups",
        ),
        (
            "exactly.once.source.support = enabled",
            "has no effect in this place; write b.exactly.once.source.support",
        ),
        (
            "a->b.enable = true",
            "is not a setting and has no effect; did you mean a->b.enabled?",
        ),
        (
            "topics.exlude = x",
            "is not a setting and has no effect; did you mean topics.exclude?",
        ),
        ("zzz = 1", "is not a setting and has no effect"),
        (
            "c.bootstrap.servers = c:1",
            "has no effect: \"c\" is not in clusters; clusters has a, b",
        ),
        (
            "a->c.enabled = true",
            "has no effect: not both ends of the flow are in clusters; clusters has a, b",
        ),
        (
            "b.producer.compression.type = zstd",
            "is not supported: records keep the source's compression",
        ),
        (
            "a->b.offsets.storage.topic = x",
            "is not supported: positions have one topic per source and target",
        ),
        (
            "sasl.login.class = hunter2",
            "is not supported: Java classes cannot be loaded",
        ),
        (
            "group.id = x # y",
            "a comment after a value is part of the value; give the comment a line of its own",
        ),
    ];
    for (text, expected) in cases {
        let key = text.split(" =").next().unwrap();
        let expected = format!("mm2.properties:5: {key}: {expected}");
        let found = notices(text);
        assert!(found.contains(&expected), "{found:#?}\n{expected}");
    }
}

#[test]
fn what_is_switched_off_needs_no_notice() {
    let text = "sync.topic.configs.enabled = false\nemit.heartbeats.enabled = false\n\
                b.producer.compression.type = none\nsecurity.protocol = plaintext";
    assert_eq!(notices(text), Vec::<String>::new());
}

#[test]
fn a_line_that_another_one_beats_is_named() {
    let cases = [
        (
            "topics = a\ntopics = b",
            "mm2.properties:5: topics: this line has no effect: line 6 sets the key again",
        ),
        (
            "offset.storage.topic = x\nb.offset.storage.topic = y",
            "mm2.properties:6: b.offset.storage.topic: has no effect: offset.storage.topic in line 5 wins; remove one of them",
        ),
        (
            "a.consumer.isolation.level = read_committed\na->b.consumer.isolation.level = read_committed",
            "mm2.properties:6: a->b.consumer.isolation.level: has no effect: a.consumer.isolation.level in line 5 wins; \
             write a->b.source.consumer.isolation.level",
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(notices(text), [expected]);
    }
}

#[test]
fn clients_of_one_cluster_connect_alike() {
    let problem = "one client of a cluster cannot connect otherwise than the others";
    for (key, cluster) in [
        ("a->b.source.cluster", "a"),
        ("a.consumer", "a"),
        ("a->b.consumer", "a"),
        ("a->b.target.producer", "b"),
        ("a->b.producer.override", "b"),
    ] {
        let shared = |name: &str| format!("write {cluster}.{name}, which all of them share");
        let text = format!("{key}.bootstrap.servers = x:1");
        let expected = format!(
            "mm2.properties:5: {key}.bootstrap.servers: {problem}; {}",
            shared("bootstrap.servers")
        );
        assert_eq!(errors(with(&text)), [expected], "{key}");
        if key == "a->b.consumer" {
            // Another key wins over this one in any case.
            continue;
        }
        let text =
            format!("a.ssl.key.password = x\nb.ssl.key.password = x\n{key}.ssl.key.password = y");
        let expected = format!(
            "mm2.properties:7: {key}.ssl.key.password: has no effect: {problem}; {}",
            shared("ssl.key.password")
        );
        assert_eq!(notices(&text), [expected], "{key}");
        let text = format!("ssl.key.password = x\n{key}.ssl.key.password = x");
        assert_eq!(notices(&text), [""; 0], "{key}");
    }
}

/// How the clusters `a` and `b` are connected to.
fn security(text: &str) -> [SecurityConfig; 2] {
    let (config, notices) = with(text).unwrap();
    assert_eq!(lines(&notices), [""; 0], "{text}");
    ["a", "b"].map(|alias| config.cluster(alias).unwrap().security.clone())
}

#[test]
fn connections_are_made_safe_per_cluster_or_for_all() {
    let [a, b] = security("");
    assert!(a.tls.is_none() && a.sasl.is_none() && b.tls.is_none());
    let [a, b] = security(
        "security.protocol = ssl\nssl.truststore.location = /t.jks\nssl.truststore.password = p\n\
         b.ssl.endpoint.identification.algorithm = https\nb.security.protocol = PLAINTEXT",
    );
    assert!(b.tls.is_none());
    let tls = a.tls.unwrap();
    assert!(tls.verifies_hosts && tls.tls12 && tls.tls13 && tls.identity.is_none());
    let Some(StoreConfig::File { path, password }) = tls.trust else {
        panic!("{:?}", tls.trust);
    };
    assert_eq!(path.to_str(), Some("/t.jks"));
    assert_eq!(password.unwrap().expose_secret(), "p");
    // What only the clients of a kind are told holds for all of them.
    let [_, b] = security("b.producer.security.protocol = SSL\nb.ssl.enabled.protocols = TLSv1.3");
    let tls = b.tls.unwrap();
    assert!(tls.trust.is_none() && tls.tls13 && !tls.tls12);
    let [a, _] = security(
        "a.security.protocol = SSL\na.ssl.keystore.key = K\na.ssl.keystore.certificate.chain = C\n\
         a.ssl.cipher.suites = X, Y",
    );
    let tls = a.tls.unwrap();
    assert_eq!(tls.cipher_suites, ["X", "Y"]);
    let Some(StoreConfig::Pem(text)) = tls.identity else {
        panic!("{:?}", tls.identity);
    };
    assert_eq!(text.expose_secret(), "C\nK\n");
}

#[test]
fn users_and_passwords_come_out_of_login_modules() {
    let [a, b] = security(
        "security.protocol = SASL_SSL\n\
         a.sasl.mechanism = PLAIN\n\
         a.sasl.jaas.config = org.apache.kafka.common.security.plain.PlainLoginModule required \\\n \
         username=\"alice\" password=\"a;b\";\n\
         b.sasl.mechanism = SCRAM-SHA-512\n\
         b.sasl.jaas.config = org.apache.kafka.common.security.scram.ScramLoginModule required \
         username=id password=hmac tokenauth=true;",
    );
    assert!(a.tls.is_some() && b.tls.is_some());
    let Some(SaslConfig::Plain { username, password }) = a.sasl else {
        panic!("{:?}", a.sasl);
    };
    assert_eq!(
        (username.as_str(), password.expose_secret()),
        ("alice", "a;b")
    );
    let Some(SaslConfig::Scram {
        is_sha512: true,
        username,
        password,
        is_token: true,
    }) = b.sasl
    else {
        panic!("{:?}", b.sasl);
    };
    assert_eq!(
        (username.as_str(), password.expose_secret()),
        ("id", "hmac")
    );
}

/// Settings for tokens from `url`, with these options of the login module.
fn oauth(url: &str, options: &str) -> String {
    format!(
        "a.security.protocol = SASL_SSL\na.sasl.mechanism = OAUTHBEARER\n\
             a.sasl.oauthbearer.token.endpoint.url = {url}\n\
             a.sasl.login.callback.handler.class = \
             org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginCallbackHandler\n\
             a.sasl.jaas.config = org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required {options};"
    )
}

#[test]
fn tokens_come_from_an_endpoint_or_a_file() {
    let options = "clientId=\"me\" clientSecret=\"hunter2\" scope=\"a b\" extension_pool=\"p1\" \
                   ssl.truststore.location=\"/t.pem\"";
    let [a, _] = security(&oauth("https://login.example/token", options));
    assert!(!format!("{a:?}").contains("hunter2"));
    let Some(SaslConfig::TokenEndpoint {
        url,
        client_id,
        client_secret,
        scope,
        timeout,
        trust,
        extensions,
        ..
    }) = a.sasl
    else {
        panic!("{:?}", a.sasl);
    };
    assert_eq!(url, "https://login.example/token");
    assert_eq!(
        (client_id.as_str(), client_secret.expose_secret()),
        ("me", "hunter2")
    );
    assert_eq!(scope.as_deref(), Some("a b"));
    assert_eq!(timeout, Duration::from_secs(10));
    assert!(
        matches!(trust, Some(StoreConfig::File { path, .. }) if path.to_str() == Some("/t.pem"))
    );
    assert_eq!(extensions, [("pool".to_owned(), "p1".to_owned())]);

    let text = oauth("https://login.example/token", "clientId=x clientSecret=y")
        + "\na.sasl.oauthbearer.client.credentials.client.id = me\n\
         a.sasl.oauthbearer.client.credentials.client.secret = hunter2\n\
         a.sasl.login.connect.timeout.ms = 1000\na.sasl.login.read.timeout.ms = 2000";
    let [a, _] = security(&text);
    let Some(SaslConfig::TokenEndpoint {
        client_id,
        client_secret,
        timeout,
        ..
    }) = a.sasl
    else {
        panic!("{:?}", a.sasl);
    };
    assert_eq!(
        (client_id.as_str(), client_secret.expose_secret()),
        ("me", "hunter2")
    );
    assert_eq!(timeout, Duration::from_secs(3));

    for url in ["file:///run/token", "file:/run/token"] {
        let [a, _] = security(&oauth(url, ""));
        let Some(SaslConfig::TokenFile { path, .. }) = a.sasl else {
            panic!("{:?}", a.sasl);
        };
        assert_eq!(path.to_str(), Some("/run/token"));
    }
}

#[test]
fn what_gives_no_tokens_is_an_error() {
    let key = "a.sasl.oauthbearer.token.endpoint.url";
    let cases = [
        (
            oauth("ftp://x", ""),
            format!("mm2.properties:7: {key}: is no URL that is known here; write https://host/path of a token endpoint, or file:/path of a token"),
        ),
        (
            oauth("", ""),
            format!("mm2.properties:7: {key}: is missing; write https://host/path of a token endpoint, or file:/path of a token"),
        ),
        (
            oauth("https://x", "clientId=x"),
            "mm2.properties:9: a.sasl.jaas.config: has no clientId or no clientSecret; write clientId=\"...\" clientSecret=\"...\";".to_owned(),
        ),
        (
            oauth("https://x", "clientId=x clientSecret=y").replace("OAuthBearerLoginCallbackHandler", "X"),
            "mm2.properties:8: a.sasl.login.callback.handler.class: Java classes cannot be loaded; leave it out, or use Kafka's own".to_owned(),
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(errors(with(&text)), [expected], "{text}");
    }
    let expected = format!(
        "mm2.properties:7: {key}: the client's secret and its tokens go over the network as they are; use https"
    );
    assert_eq!(
        notices(&oauth("http://x", "clientId=x clientSecret=y")),
        [expected]
    );
}

#[test]
fn what_cannot_make_a_connection_safe_is_an_error() {
    let sasl = "a.security.protocol = SASL_SSL\na.sasl.mechanism = PLAIN";
    let cases = [
        (
            "a.security.protocol = SASL_SSL".to_owned(),
            "mm2.properties: a.sasl.mechanism: GSSAPI, which is also the default, needs Kerberos libraries, and a static \
             binary can load none; use PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 or OAUTHBEARER, or certificates with SSL",
        ),
        (
            "a.security.protocol = SASL_SSL\nsasl.mechanism = AWS_MSK_IAM".to_owned(),
            "mm2.properties:6: sasl.mechanism: is not a mechanism that is known here; use PLAIN, SCRAM-SHA-256, \
             SCRAM-SHA-512 or OAUTHBEARER, or certificates with SSL",
        ),
        (
            sasl.to_owned(),
            "mm2.properties: a.sasl.jaas.config: is missing; write a.sasl.jaas.config = ...PlainLoginModule required ...;",
        ),
        (
            format!("{sasl}\na.sasl.jaas.config = x.ScramLoginModule required username=u password=p;"),
            "mm2.properties:7: a.sasl.jaas.config: names another login module than the mechanism needs, and Java classes \
             cannot be loaded; use PlainLoginModule",
        ),
        (
            format!("{sasl}\na.sasl.jaas.config = x.PlainLoginModule required username=u;"),
            "mm2.properties:7: a.sasl.jaas.config: has no username or no password; write username=\"...\" password=\"...\";",
        ),
        (
            format!("{sasl}\na.sasl.jaas.config = x.PlainLoginModule required"),
            "mm2.properties:7: a.sasl.jaas.config: does not end with a semicolon",
        ),
        (
            "a.security.protocol = SSL\na.ssl.enabled.protocols = TLSv1.1".to_owned(),
            "mm2.properties:6: a.ssl.enabled.protocols: has no version of TLS that is safe; TLSv1.2 and TLSv1.3 can be spoken",
        ),
        (
            "a.security.protocol = SSL\na.ssl.keystore.key = K".to_owned(),
            "mm2.properties: a.ssl.keystore.certificate.chain: is missing beside ssl.keystore.key",
        ),
        (
            "a.security.protocol = SSL\na.ssl.truststore.location = /t\na.ssl.truststore.certificates = C".to_owned(),
            "mm2.properties:7: a.ssl.truststore.certificates: cannot be set beside ssl.truststore.location; remove one of them",
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(errors(with(&text)), [expected], "{text}");
    }
}

#[test]
fn who_could_stand_in_for_a_broker_or_read_a_password_is_told() {
    let text = "a.security.protocol = SSL\na.ssl.endpoint.identification.algorithm =";
    let problem = "whoever has a certificate of a trusted signer can stand in for the brokers";
    let expected = format!("mm2.properties:6: a.ssl.endpoint.identification.algorithm: {problem}");
    assert_eq!(notices(text), [expected]);
    let text = "a.security.protocol = SASL_PLAINTEXT\na.sasl.mechanism = PLAIN\n\
                a.sasl.jaas.config = x.PlainLoginModule required username=u password=p;";
    assert_eq!(
        notices(text),
        [
            "mm2.properties:5: a.security.protocol: the password goes over the network as it is; use SASL_SSL, or SCRAM"
        ]
    );
}

#[test]
fn values_of_secrets_appear_nowhere() {
    let secret = "hunter2";
    let text = format!(
        "sasl.jaas.config = x required \\ \npassword=\"{secret}\";\nssl.key.password = {secret}\n\
         a.ssl.keystore.password = {secret} # c\na->b.ssl.keystore.key = {secret}\n\
         \"{secret}\"; = 1\nx.password = {secret}\nsasl.jaas.config = {secret}"
    );
    let shown = format!("{:?}", with(&text));
    assert!(!shown.contains(secret), "{shown}");
    let broken = format!("{text}\nreplication.factor = x\nconfig.providers = file");
    let shown = format!("{:?}", with(&broken));
    assert!(
        shown.contains("replication.factor") && !shown.contains(secret),
        "{shown}"
    );
}

#[test]
fn characters_outside_ascii_get_a_notice() {
    assert_eq!(
        notices("topics = caf\u{e9}"),
        [
            "mm2.properties:5: topics: characters outside ASCII are read as ISO-8859-1; write them as \\uXXXX"
        ]
    );
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(48))]

    #[test]
    fn no_file_makes_the_reader_panic(text in "((clusters|a->b\\.|a\\.|b\\.|topics|enabled|replication\\.|factor|consumer\\.|kmirror\\.|memory\\.bytes|bootstrap\\.servers|true|a, b|->|[=:.,\\\\#\\-\n é0-9]){0,4}\n){0,8}") {
        let _ = with(&text);
        let _ = parse(&text);
    }
}
