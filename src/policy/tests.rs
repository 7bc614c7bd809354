use super::*;

fn with_separator(separator: &str) -> ReplicationPolicy {
    ReplicationPolicy::prefixing().with_separator(separator, true)
}

#[test]
fn the_default_policy_cuts_names_as_java_splits_them() {
    // Topic, separator, source, upstream topic, original topic.
    let cases = [
        ("a.t", ".", Some("a"), Some("t"), "t"),
        ("t", ".", None, None, "t"),
        ("", ".", None, None, ""),
        (".", ".", None, None, "."),
        ("..", ".", None, None, ".."),
        ("a.", ".", None, None, "a."),
        ("a..", ".", None, None, "a.."),
        (".a", ".", Some(""), Some("a"), "a"),
        ("..a", ".", Some(""), Some(".a"), "a"),
        ("a..b", ".", Some("a"), Some(".b"), "b"),
        ("b.a.t", ".", Some("b"), Some("a.t"), "t"),
        ("b.a.", ".", Some("b"), Some("a."), "a."),
        ("a.t", "_", None, None, "a.t"),
        ("a__t", "__", Some("a"), Some("t"), "t"),
        ("a___t", "__", Some("a"), Some("_t"), "_t"),
        ("a--", "--", None, None, "a--"),
        ("a---", "--", Some("a"), Some("-"), "-"),
    ];
    for (topic, separator, source, upstream, original) in cases {
        let policy = with_separator(separator);
        assert_eq!(policy.topic_source(topic), source, "source of {topic}");
        assert_eq!(policy.upstream_topic(topic), upstream, "before {topic}");
        assert_eq!(policy.original_topic(topic), original, "first {topic}");
    }
}

#[test]
fn remote_names_are_read_back() {
    for separator in [".", "_", "--", "mirror"] {
        let policy = with_separator(separator);
        let remote = policy.remote_topic("us", "t");
        assert_eq!(remote, format!("us{separator}t"));
        assert_eq!(policy.topic_source(&remote), Some("us"));
        assert_eq!(policy.upstream_topic(&remote), Some("t"));
    }
}

#[test]
fn the_identity_policy_renames_only_what_ends_with_heartbeats() {
    let policy = ReplicationPolicy::identity(Some("a"));
    // Topic, remote name, source, upstream, original.
    let cases = [
        ("t", "t", Some("a"), Some("t"), "t"),
        ("b.t", "b.t", Some("a"), Some("b.t"), "b.t"),
        ("heartbeats", "a.heartbeats", None, None, "heartbeats"),
        (
            "a.heartbeats",
            "a.a.heartbeats",
            Some("a"),
            Some("heartbeats"),
            "heartbeats",
        ),
        (
            "device-heartbeats",
            "a.device-heartbeats",
            None,
            None,
            "device-heartbeats",
        ),
    ];
    for (topic, remote, source, upstream, original) in cases {
        assert_eq!(policy.remote_topic("a", topic), remote);
        assert_eq!(policy.topic_source(topic), source, "source of {topic}");
        assert_eq!(policy.upstream_topic(topic), upstream, "before {topic}");
        assert_eq!(policy.original_topic(topic), original, "first {topic}");
    }
    assert_eq!(ReplicationPolicy::identity(None).topic_source("t"), None);
}

#[test]
fn a_cycle_is_seen_at_any_depth_of_the_name() {
    let (default, identity) = (
        ReplicationPolicy::prefixing(),
        ReplicationPolicy::identity(Some("a")),
    );
    let cases = [
        (&default, "t", false),
        (&default, "b.t", true),
        (&default, "c.b.t", true),
        (&default, "c.t", false),
        (&default, "c.d.b", false),
        (&default, "b.", false),
        (&identity, "t", false),
        (&identity, "b.t", false),
        (&identity, "b.heartbeats", true),
        (&identity, "c.b.heartbeats", true),
    ];
    for (policy, topic, expected) in cases {
        assert_eq!(policy.is_cycle(topic, "b"), expected, "{topic}");
    }
    // With the same alias at both ends everything would be one.
    assert!(ReplicationPolicy::identity(Some("b")).is_cycle("t", "b"));
}

#[test]
fn internal_topics_follow_the_internal_separator() {
    let dot = ReplicationPolicy::prefixing();
    let dash = with_separator("-");
    let mixed = ReplicationPolicy::prefixing().with_separator("-", false);
    let names = |policy: &ReplicationPolicy| {
        [
            policy.offset_syncs_topic("b"),
            policy.checkpoints_topic("a"),
        ]
    };
    assert_eq!(
        names(&dot),
        ["mm2-offset-syncs.b.internal", "a.checkpoints.internal"]
    );
    assert_eq!(
        names(&dash),
        ["mm2-offset-syncs-b-internal", "a-checkpoints-internal"]
    );
    assert_eq!(names(&mixed), names(&dot));
    assert_eq!(source_offsets_topic("a"), "mm2-offsets.a.internal");

    // Topic, internal under ".", under "-", under "-" with "." for internal names.
    let cases = [
        ("mm2-offset-syncs.b.internal", true, false, true),
        ("mm2-offset-syncs-b-internal", false, true, false),
        ("mm2-offsets.a.internal", true, false, true),
        ("a.checkpoints.internal", true, false, true),
        ("a-checkpoints-internal", false, true, false),
        ("orders.internal", false, false, false),
        ("orders-internal", false, false, false),
        ("__consumer_offsets", true, true, true),
        (".hidden", true, true, true),
        ("_one", false, false, false),
        ("mm2", false, false, false),
    ];
    for (topic, under_dot, under_dash, under_both) in cases {
        let found = [&dot, &dash, &mixed].map(|policy| policy.is_internal_topic(topic));
        assert_eq!(found, [under_dot, under_dash, under_both], "{topic}");
    }
}

#[test]
fn heartbeats_are_known_wherever_they_have_been() {
    let policy = with_separator("-");
    for topic in ["heartbeats", "a-heartbeats", "b-a-heartbeats"] {
        assert!(policy.is_heartbeats_topic(topic), "{topic}");
    }
    for topic in ["a.heartbeats", "heartbeats-a", "xheartbeats"] {
        assert!(!policy.is_heartbeats_topic(topic), "{topic}");
    }
}

fn filter(include: &[&str], exclude: &[&str], heartbeats: bool) -> TopicFilter {
    TopicFilter {
        include: NameFilter::new(include).unwrap(),
        exclude: NameFilter::new(exclude).unwrap(),
        heartbeats_replication_enabled: heartbeats,
        hops: Vec::new(),
    }
}

#[test]
fn every_topic_is_wanted_or_left_out_for_a_reason() {
    use Decision::{Skipped, Wanted};
    let policy = ReplicationPolicy::prefixing();
    let filter = filter(
        &["orders.*", "b\\..*", "mm2.*", "kmirror.*"],
        &[".*\\.tmp", "orders2"],
        true,
    );
    let cases = [
        ("orders", Wanted),
        ("orders2", Skipped(SkipReason::Excluded)),
        ("orders.tmp", Skipped(SkipReason::Excluded)),
        ("other.tmp", Skipped(SkipReason::NotIncluded)),
        ("my-orders", Skipped(SkipReason::NotIncluded)),
        ("mm2-offsets.c.internal", Skipped(SkipReason::Internal)),
        ("kmirror-state.c.internal", Skipped(SkipReason::Internal)),
        ("kmirror-state.orders", Wanted),
        ("b.orders", Skipped(SkipReason::Cycle)),
        ("heartbeats", Wanted),
        ("c.heartbeats", Wanted),
        ("b.heartbeats", Skipped(SkipReason::Cycle)),
    ];
    for (topic, expected) in cases {
        let decision = filter.wanted(&policy, "b", topic).unwrap();
        assert_eq!(decision, expected, "{topic}");
    }
}

#[test]
fn heartbeats_are_ordinary_topics_when_their_replication_is_off() {
    let policy = ReplicationPolicy::prefixing();
    let filter = filter(&["orders"], &[], false);
    let decision = filter.wanted(&policy, "b", "heartbeats").unwrap();
    assert_eq!(decision, Decision::Skipped(SkipReason::NotIncluded));
}

#[test]
fn lists_match_whole_names_as_one_pattern() {
    let cases: [(&[&str], &str, bool); 12] = [
        (&[], "anything", false),
        (&[], "", false),
        (&[""], "", true),
        (&[""], "a", false),
        (&["foo"], "foobar", false),
        (&["foo", "bar"], "bar", true),
        (&["a", "", "b"], "", true),
        (&["(?i)foo", "bar"], "BAR", true),
        (&["(foo", "bar)x"], "barx", true),
        (&["(?!.*test).*"], "my-test", false),
        (&["\\Qa", "b"], "a|b", true),
        (&[".*"], "é", true),
    ];
    for (items, name, expected) in cases {
        let filter = NameFilter::new(items).unwrap();
        assert_eq!(filter.matches(name).unwrap(), expected, "{items:?} {name}");
    }
}

#[test]
fn a_name_that_cannot_be_decided_is_an_error_and_not_a_no() {
    let filter = NameFilter::new(&["(x+x+)+(?=y)y\\b"]).unwrap();
    let name = "x".repeat(200);
    let gave_up = filter.matches(&name);
    assert!(
        matches!(&gave_up, Err(MatchError::GaveUp { name: n, .. }) if *n == name),
        "{gave_up:?}"
    );

    let all = NameFilter::new(&[".*"]).unwrap();
    let name = "two\nlines".to_owned();
    assert_eq!(all.matches(&name), Err(MatchError::LineTerminator { name }));
    let none = NameFilter::new::<&str>(&[]).unwrap();
    assert_eq!(none.matches("two\nlines"), Ok(false));
}

#[test]
fn a_property_is_copied_unless_excluded() {
    let filter = PropertyFilter {
        exclude: NameFilter::new(&["min\\.insync\\.replicas", "unclean\\..*"]).unwrap(),
    };
    for (name, copied) in [
        ("retention.ms", true),
        ("min.insync.replicas", false),
        ("unclean.leader.election.enable", false),
    ] {
        assert_eq!(filter.is_copied(name), Ok(copied), "{name}");
    }
}
