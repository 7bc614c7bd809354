use super::*;
use crate::policy::NameFilter;

/// `x READ t` is ALLOW for `User:x` on a topic; `!READ` is DENY, `group:g` a group, `t^` a prefix.
fn acl(text: &str) -> Acl {
    let words: Vec<&str> = text.split(' ').collect();
    let [principal, operation, name] = words[..] else {
        panic!("{text}");
    };
    let (permission, operation) = match operation.strip_prefix('!') {
        Some(operation) => (Permission::Deny, operation),
        None => (Permission::Allow, operation),
    };
    let (resource, name) = match name.strip_prefix("group:") {
        Some(name) => (ResourceType::Group, name),
        None => (ResourceType::Topic, name),
    };
    let (pattern, name) = match name.strip_suffix('^') {
        Some(prefix) => (PatternType::Prefixed, prefix),
        None => (PatternType::Literal, name),
    };
    let mut names = AclOperation::NAMES.iter();
    let number = names.position(|name| *name == operation).unwrap();
    Acl {
        permission,
        resource,
        pattern,
        name: Arc::from(name),
        principal: Arc::from(format!("User:{principal}")),
        host: Arc::from("*"),
        operation: AclOperation(i8::try_from(number).unwrap()),
    }
}

fn acls(texts: &[&str]) -> Vec<Acl> {
    texts.iter().map(|text| acl(text)).collect()
}

/// A flow `A->B` of topics that begin with `t`, of which there are `t1` and `t2`.
struct Setting {
    policy: ReplicationPolicy,
    topics: TopicFilter,
    takes_prefixes: bool,
    takes_groups: bool,
    removes: bool,
}

impl Setting {
    fn new() -> Self {
        Self {
            policy: ReplicationPolicy::prefixing(),
            topics: TopicFilter {
                include: NameFilter::new(&["t.*", "\\*"]).unwrap(),
                exclude: NameFilter::new(&["tmp"]).unwrap(),
                heartbeats_replication_enabled: true,
                hops: Vec::new(),
            },
            takes_prefixes: false,
            takes_groups: false,
            removes: false,
        }
    }

    fn plan(&self, source: &[&str], target: &[&str]) -> AclPlan {
        let takes_group = |group: &str| group.starts_with('g');
        let rules = AclRules {
            policy: &self.policy,
            source_alias: "A",
            target_alias: "B",
            topics: &self.topics,
            takes_prefixes: self.takes_prefixes,
            replicated: &BTreeSet::from(["t1", "t2"]),
            takes_group: self
                .takes_groups
                .then_some(&takes_group as &dyn Fn(&str) -> bool),
            removes: self.removes,
        };
        rules.plan(&acls(source), &acls(target).into_iter().collect())
    }

    fn assert_missing(&self, cases: &[(&str, Option<&str>)]) {
        for (source, expected) in cases {
            let plan = self.plan(&[source], &[]);
            let expected: Vec<Acl> = expected.map(acl).into_iter().collect();
            assert_eq!(plan.missing, expected, "{source}");
            assert_eq!(plan.surplus, [], "{source}");
        }
    }
}

#[test]
fn mirror_maker_copies_what_names_a_replicated_topic_and_makes_a_reader_of_who_may_do_everything() {
    Setting::new().assert_missing(&[
        ("x READ t1", Some("x READ A.t1")),
        ("x DESCRIBE t1", Some("x DESCRIBE A.t1")),
        ("x DELETE t1", Some("x DELETE A.t1")),
        ("x ALL t1", Some("x READ A.t1")),
        ("x WRITE t1", None),
        ("x !ALL t1", Some("x !ALL A.t1")),
        ("x !WRITE t1", Some("x !WRITE A.t1")),
        ("* READ t1", Some("* READ A.t1")),
        // There need not be such a topic yet.
        ("x READ t9", Some("x READ A.t9")),
        ("x READ heartbeats", Some("x READ A.heartbeats")),
        ("x READ tmp", None),
        ("x READ other", None),
        ("x READ __consumer_offsets", None),
        ("x READ B.t1", None),
        ("x READ t^", None),
        ("x READ *", None),
        ("x READ group:g1", None),
    ]);
}

#[test]
fn prefixes_and_all_topics_become_prefixes_of_remote_topics_where_that_is_asked_for() {
    let setting = Setting {
        takes_prefixes: true,
        ..Setting::new()
    };
    setting.assert_missing(&[
        ("x READ t^", Some("x READ A.t^")),
        ("x ALL t1^", Some("x READ A.t1^")),
        ("x WRITE t^", None),
        ("x !ALL t^", Some("x !ALL A.t^")),
        ("x READ *", Some("x READ A.^")),
        ("x !READ *", Some("x !READ A.^")),
        // No topic is copied that begins so.
        ("x READ other^", None),
        ("x READ t3^", None),
        ("x READ t1", Some("x READ A.t1")),
    ]);
}

#[test]
fn the_identity_policy_changes_no_names() {
    let setting = Setting {
        policy: ReplicationPolicy::identity(Some("A")),
        takes_prefixes: true,
        ..Setting::new()
    };
    setting.assert_missing(&[
        ("x ALL t1", Some("x READ t1")),
        ("x READ t^", Some("x READ t^")),
        ("x READ *", Some("x READ *")),
        ("x READ heartbeats", Some("x READ A.heartbeats")),
    ]);
}

#[test]
fn rights_on_listed_groups_go_along_unchanged_where_that_is_asked_for() {
    let setting = Setting {
        takes_groups: true,
        takes_prefixes: true,
        ..Setting::new()
    };
    let same = |text| (text, Some(text));
    setting.assert_missing(&[
        same("x READ group:g1"),
        same("x ALL group:g1"),
        same("x !READ group:g1"),
        ("x READ group:other", None),
        ("x READ group:g^", None),
        ("x READ group:*", None),
    ]);
}

#[test]
fn only_what_is_missing_is_created_and_denials_come_first() {
    let source = ["x READ t1", "x ALL t1", "z !READ t1", "y READ t1"];
    let plan = Setting::new().plan(&source, &["x READ A.t1"]);
    let expected = ["z !READ A.t1", "y READ A.t1"];
    assert_eq!(plan.missing, acls(&expected));
    let both = [&expected[..], &["x READ A.t1"]].concat();
    assert_eq!(Setting::new().plan(&source, &both), AclPlan::default());
}

#[test]
fn patterns_that_hold_for_what_is_copied_and_are_not_copied_are_counted() {
    let source = [
        "x READ t^",
        "x WRITE t^",
        "x READ other^",
        "x !READ *",
        "x READ group:g^",
        "x READ group:*",
        "x READ group:g1",
    ];
    let counts = |setting: Setting| {
        let left_out = setting.plan(&source, &[]).left_out;
        let LeftOut {
            topic_patterns,
            denials,
            group_patterns,
        } = left_out;
        (topic_patterns, denials, group_patterns)
    };
    assert_eq!(counts(Setting::new()), (2, 1, 0));
    let prefixes = Setting {
        takes_prefixes: true,
        takes_groups: true,
        ..Setting::new()
    };
    assert_eq!(counts(prefixes), (0, 0, 2));
    let identity = Setting {
        policy: ReplicationPolicy::identity(Some("A")),
        ..Setting::new()
    };
    assert_eq!(counts(identity), (1, 0, 0), "* is copied");
}

#[test]
fn only_rights_on_remote_topics_that_the_source_does_not_give_are_taken_away() {
    let setting = Setting {
        removes: true,
        ..Setting::new()
    };
    let source = [
        "both READ t1",
        "all ALL t1",
        "wide READ t^",
        "everywhere READ *",
        "* DESCRIBE t2^",
    ];
    let stays = [
        "both READ A.t1",
        "all READ A.t1",
        // Given by patterns that are not copied.
        "wide READ A.t1",
        "everywhere READ A.t1",
        "w DESCRIBE A.t2",
        // Nothing that kmirror makes, or makes from this source and of this flow.
        "x WRITE A.t1",
        "y ALL A.t1",
        "x !READ A.t1",
        "z READ t1",
        "z READ C.t1",
        "z READ A.other",
        "z READ A.tmp",
        "z READ A.^",
        "z READ *",
        "z READ group:g1",
        // Who may write remote topics replicates.
        "x READ A.t1",
        "y READ A.t2",
    ];
    let goes = ["z READ A.t1", "z DESCRIBE A.t1", "wide DESCRIBE A.t1"];
    let target = [&stays[..], &goes].concat();
    let sorted: BTreeSet<Acl> = acls(&goes).into_iter().collect();
    let plan = setting.plan(&source, &target);
    assert_eq!(plan.surplus, Vec::from_iter(sorted));
    let kept = Setting::new().plan(&source, &target);
    assert_eq!(kept.surplus, [], "unless it is asked for, nothing goes");
}

#[test]
fn rights_on_prefixes_go_where_such_are_made() {
    let setting = Setting {
        takes_prefixes: true,
        removes: true,
        ..Setting::new()
    };
    let source = ["x READ t^", "all READ *", "y READ other^"];
    let target = [
        "x READ A.t^",
        "all READ A.^",
        // Perhaps another process copies those.
        "y READ A.other^",
        // More narrow than what the source gives.
        "x READ A.t1^",
        "z READ A.t^",
        "z READ A^",
    ];
    let plan = setting.plan(&source, &target);
    assert_eq!(plan.missing, []);
    assert_eq!(plan.surplus, acls(&["z READ A.t^"]));
}

#[test]
fn nothing_is_taken_away_where_remote_topics_cannot_be_told_or_everybody_may_write_them() {
    let target = ["z READ t1", "z READ A.t1"];
    let identity = Setting {
        policy: ReplicationPolicy::identity(Some("A")),
        removes: true,
        ..Setting::new()
    };
    assert_eq!(identity.plan(&[], &target).surplus, []);
    let default = Setting {
        removes: true,
        ..Setting::new()
    };
    for (writer, count) in [
        ("* WRITE A.t2", 0),
        ("* ALL *", 0),
        ("* WRITE A^", 0),
        ("z WRITE A^", 0),
        ("z WRITE t1", 1),
        ("z WRITE group:A.t1", 1),
        ("* !WRITE *", 1),
    ] {
        let target = [&target[..], &[writer]].concat();
        let plan = default.plan(&[], &target);
        assert_eq!(plan.surplus.len(), count, "{writer}");
    }
}

#[test]
fn hosts_are_part_of_a_right() {
    let from = |text: &str, host: &str| Acl {
        host: Arc::from(host),
        ..acl(text)
    };
    let setting = Setting::new();
    let rules = AclRules {
        policy: &setting.policy,
        source_alias: "A",
        target_alias: "B",
        topics: &setting.topics,
        takes_prefixes: false,
        replicated: &BTreeSet::new(),
        takes_group: None,
        removes: true,
    };
    let source = [from("x READ t1", "10.0.0.1")];
    let target = from("x READ A.t1", "*");
    let plan = rules.plan(&source, &BTreeSet::from([target.clone()]));
    assert_eq!(plan.missing, [from("x READ A.t1", "10.0.0.1")]);
    assert_eq!(plan.surplus, [target]);
}

#[test]
fn rules_are_shown_in_the_words_of_kafka() {
    let cases = [
        ("x READ t1", "ALLOW User:x READ on topic t1 from host *"),
        (
            "x !DESCRIBE_CONFIGS t^",
            "DENY User:x DESCRIBE_CONFIGS on topics with prefix t from host *",
        ),
        ("x READ group:g", "ALLOW User:x READ on group g from host *"),
    ];
    for (text, expected) in cases {
        assert_eq!(acl(text).to_string(), expected);
    }
    assert_eq!(AclOperation(99).to_string(), "operation 99");
}
