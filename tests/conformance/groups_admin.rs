//! Groups from outside: listed, described and deleted.

use kmirror_protocol::messages::{
    ConsumerGroupDescribeRequest, DeleteGroupsRequest, DescribeGroupsRequest, ListGroupsRequest,
};

use super::{
    broker::{Broker, eventually},
    groups::{
        NOBODY, SUBSCRIPTION, commit_in, coordinator, heartbeat, join, joining, leave,
        new_member_id, stable_group, sync, syncing,
    },
};

/// Lists groups whose id starts so: id, protocol type, state and type.
async fn list(
    broker: &mut Broker,
    version: i16,
    prefix: &str,
    states: &[&'static str],
    types: &[&'static str],
) -> Vec<[String; 4]> {
    let request = ListGroupsRequest {
        states_filter: states.to_vec().into(),
        types_filter: types.to_vec().into(),
    };
    let answer = broker.ask_in(version, &request).await;
    let answer = answer.decode();
    assert_eq!(answer.error_code.0, 0);
    let groups = answer.groups.iter();
    let groups = groups.filter(|group| group.group_id.starts_with(prefix));
    let groups = groups.map(|group| {
        let fields = [
            group.group_id,
            group.protocol_type,
            group.group_state,
            group.group_type,
        ];
        fields.map(str::to_owned)
    });
    let mut groups: Vec<[String; 4]> = groups.collect();
    groups.sort();
    groups
}

pub(super) async fn groups_are_listed_by_state_and_type(bootstrap: &str) {
    let [simple, empty, preparing, stable] = [
        "glist-a-simple",
        "glist-b-empty",
        "glist-c-completing",
        "glist-d-stable",
    ];
    let broker = &mut coordinator(bootstrap, simple).await;
    for group in [empty, preparing, stable] {
        coordinator(bootstrap, group).await;
    }
    let topic = broker.create_topic("glist", &[]).await;
    assert_eq!(
        commit_in(broker, 9, simple, NOBODY, (topic.name, 0)).await,
        0
    );
    let gone = stable_group(broker, empty).await;
    assert_eq!(leave(broker, 5, empty, &[(&gone, None)]).await.1, [0]);
    let id = new_member_id(broker, preparing).await;
    assert_eq!(join(broker, &joining(preparing, &id)).await.code, 0);
    stable_group(broker, stable).await;

    // Kafka shows a new group once its log has it.
    eventually(async || list(broker, 5, "glist", &[], &[]).await.len() == 4).await;
    let row = |fields: [&str; 4]| fields.map(str::to_owned);
    let all = [
        row([simple, "", "Empty", "classic"]),
        row([empty, "consumer", "Empty", "classic"]),
        row([preparing, "consumer", "CompletingRebalance", "classic"]),
        row([stable, "consumer", "Stable", "classic"]),
    ];
    let shown = |version: i16, rows: &[[String; 4]]| -> Vec<[String; 4]> {
        let known = if version >= 5 {
            4
        } else if version >= 4 {
            3
        } else {
            2
        };
        let rows = rows.iter().map(|row| {
            let mut row = row.clone();
            row[known..].fill(String::new());
            row
        });
        rows.collect()
    };
    for version in 0..=5 {
        let listed = list(broker, version, "glist", &[], &[]).await;
        assert_eq!(listed, shown(version, &all), "version {version}");
    }
    let cases: [(&[&str], &[&str], &[usize]); 11] = [
        (&["Empty"], &[], &[0, 1]),
        (&["Stable"], &[], &[3]),
        (&["stable", "CompletingRebalance"], &[], &[2, 3]),
        (&[" STABLE "], &[], &[3]),
        (&["Dead"], &[], &[]),
        (&["nonsense"], &[], &[]),
        (&[], &["Classic"], &[0, 1, 2, 3]),
        (&[], &["classic", "consumer"], &[0, 1, 2, 3]),
        (&[], &["consumer"], &[]),
        (&[], &["nonsense"], &[]),
        (&["Stable"], &["CLASSIC"], &[3]),
    ];
    for (states, types, expected) in cases {
        let listed = list(broker, 5, "glist", states, types).await;
        let expected = expected.iter().map(|at| all[*at].clone());
        assert_eq!(listed, expected.collect::<Vec<_>>(), "{states:?} {types:?}");
    }
}

/// Describes a group: its fields and, for each member, instance, client, host, metadata and
/// assignment.
async fn describe(
    broker: &mut Broker,
    version: i16,
    group: &str,
) -> (Vec<String>, Vec<Vec<String>>) {
    let request = DescribeGroupsRequest {
        groups: [group].into_iter().collect(),
        include_authorized_operations: version == 4,
    };
    let answer = broker.ask_in(version, &request).await;
    let answer = answer.decode();
    let group = answer.groups.first().unwrap();
    let fields = vec![
        group.error_code.0.to_string(),
        group.error_message.unwrap_or("null").to_owned(),
        group.group_id.to_owned(),
        group.group_state.to_owned(),
        group.protocol_type.to_owned(),
        group.protocol_data.to_owned(),
        group.authorized_operations.to_string(),
    ];
    let members = group.members.iter().map(|member| {
        vec![
            member.member_id.to_owned(),
            member.group_instance_id.unwrap_or("null").to_owned(),
            member.client_id.to_owned(),
            member.client_host.to_owned(),
            format!("{:?}", member.member_metadata),
            format!("{:?}", member.member_assignment),
        ]
    });
    (fields, members.collect())
}

pub(super) async fn groups_are_described_in_every_state(bootstrap: &str) {
    let group = "gdescribe";
    let broker = &mut coordinator(bootstrap, group).await;
    let fields = |fields: [&str; 7]| fields.map(str::to_owned).to_vec();
    for version in 0..=6 {
        let (code, message) = match version {
            6 => ("69", "Group gdescribe not found."),
            _ => ("0", "null"),
        };
        let operations = if version == 4 { "3400" } else { "-2147483648" };
        let expected = fields([code, message, group, "Dead", "", "", operations]);
        let described = describe(broker, version, group).await;
        assert_eq!(described, (expected, vec![]), "version {version}");
    }
    let id = new_member_id(broker, group).await;
    let none = "-2147483648";
    let expected = fields(["0", "null", group, "Empty", "", "", none]);
    // Kafka shows a new group once its log has it.
    eventually(async || describe(broker, 6, group).await == (expected.clone(), vec![])).await;
    assert_eq!(join(broker, &joining(group, &id)).await.code, 0);
    let member = |metadata: &[u8], assignment: &[u8]| {
        let (metadata, assignment) = (format!("{metadata:?}"), format!("{assignment:?}"));
        let fields = [
            id.as_str(),
            "null",
            "conformance",
            "/127.0.0.1",
            &metadata,
            &assignment,
        ];
        vec![fields.map(str::to_owned).to_vec()]
    };
    let described = describe(broker, 6, group).await;
    let expected = fields([
        "0",
        "null",
        group,
        "CompletingRebalance",
        "consumer",
        "",
        none,
    ]);
    assert_eq!(described, (expected, member(b"", b"")));
    assert_eq!(
        sync(broker, &syncing(group, 1, &id, &[(&id, b"all")]))
            .await
            .code,
        0
    );
    let described = describe(broker, 6, group).await;
    let expected = fields(["0", "null", group, "Stable", "consumer", "range", none]);
    assert_eq!(described, (expected, member(SUBSCRIPTION, b"all")));
    assert_eq!(leave(broker, 5, group, &[(&id, None)]).await.1, [0]);
    let described = describe(broker, 6, group).await;
    let expected = fields(["0", "null", group, "Empty", "consumer", "", none]);
    assert_eq!(described, (expected, vec![]));
}

pub(super) async fn a_classic_group_is_not_described_as_another(bootstrap: &str) {
    let group = "gdescribe-classic";
    let broker = &mut coordinator(bootstrap, group).await;
    stable_group(broker, group).await;
    for version in [0, 1] {
        let request = ConsumerGroupDescribeRequest {
            group_ids: [group, "gdescribe-nowhere", ""].into_iter().collect(),
            include_authorized_operations: false,
        };
        let answer = broker.ask_in(version, &request).await;
        let answer = answer.decode();
        let groups = answer.groups.iter();
        let mut groups: Vec<_> = groups
            .map(|it| (it.group_id, it.error_code.0, it.error_message))
            .collect();
        groups.sort();
        let expected = [
            ("", 24, None),
            (
                group,
                69,
                Some("Group gdescribe-classic is not a consumer group."),
            ),
            (
                "gdescribe-nowhere",
                69,
                Some("Group gdescribe-nowhere not found."),
            ),
        ];
        assert_eq!(groups, expected, "version {version}");
    }
}

/// Deletes groups: error code of each id.
pub(crate) async fn delete(
    broker: &mut Broker,
    version: i16,
    groups: &[&str],
) -> Vec<(String, i16)> {
    let request = DeleteGroupsRequest {
        groups_names: groups.to_vec().into(),
    };
    let answer = broker.ask_in(version, &request).await;
    let answer = answer.decode();
    let results = answer.results.iter();
    let results = results.map(|it| (it.group_id.to_owned(), it.error_code.0));
    let mut results: Vec<(String, i16)> = results.collect();
    results.sort();
    results
}

pub(super) async fn only_empty_groups_can_be_deleted(bootstrap: &str) {
    let [full, empty, nowhere] = ["gdelete-a-full", "gdelete-b-empty", "gdelete-c-nowhere"];
    let broker = &mut coordinator(bootstrap, full).await;
    coordinator(bootstrap, empty).await;
    coordinator(bootstrap, nowhere).await;
    let topic = broker.create_topic("gdelete", &[]).await;
    let id = stable_group(broker, full).await;
    for version in 0..=2 {
        assert_eq!(
            commit_in(broker, 9, empty, NOBODY, (topic.name, 0)).await,
            0
        );
        let deleted = delete(broker, version, &[full, empty, nowhere, empty]).await;
        let expected = [(full, 68), (empty, 0), (nowhere, 69)];
        let expected = expected.map(|(group, code)| (group.to_owned(), code));
        assert_eq!(deleted, expected, "version {version}");
        let again = delete(broker, version, &[empty]).await;
        assert_eq!(again, [(empty.to_owned(), 69)], "version {version}");
    }
    assert_eq!(heartbeat(broker, full, &id, 1).await, 0);
    assert_eq!(leave(broker, 5, full, &[(&id, None)]).await.1, [0]);
    assert_eq!(delete(broker, 2, &[full]).await, [(full.to_owned(), 0)]);
    assert_eq!(
        list(broker, 5, "gdelete", &[], &[]).await,
        Vec::<[String; 4]>::new()
    );
    // A group that is made again starts again.
    stable_group(broker, full).await;
}
