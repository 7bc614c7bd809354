//! Members of groups: how they join, are assigned, stay alive and leave.

use kmirror_protocol::{
    ErrorCode,
    messages::{HeartbeatRequest, JoinGroupRequest, SyncGroupRequest},
};
use tokio::sync::oneshot;

use super::{
    broker::{Broker, eventually},
    groups::{
        Joined, Synced, coordinator, heartbeat, join, join_in, joining, leave, new_member_id,
        protocols, stable_group, sync, syncing, wait_for_rebalance,
    },
};

pub(super) async fn a_new_member_is_given_an_id_to_join_with(bootstrap: &str) {
    let group = "members-new";
    let broker = &mut coordinator(bootstrap, group).await;
    let given = new_member_id(broker, group).await;
    let (client, id) = given.split_at("conformance-".len());
    assert_eq!((client, id.len()), ("conformance-", 36), "{given}");
    let unknown = join(broker, &joining(group, "conformance-unknown")).await;
    assert_eq!(unknown, Joined::refused(25, "conformance-unknown"));
    let nowhere = join(broker, &joining("members-nowhere", "someone")).await;
    assert_eq!(nowhere, Joined::refused(25, "someone"));
    let with_instance = JoinGroupRequest {
        group_instance_id: Some("instance"),
        ..joining(group, &given)
    };
    let strange = join(broker, &with_instance).await;
    assert_eq!(strange, Joined::refused(-1, ""));
    let joined = join(broker, &joining(group, &given)).await;
    assert_eq!(joined, Joined::member(1, &given, &given, &[&given]));
}

pub(super) async fn before_version_4_a_new_member_joins_at_once(bootstrap: &str) {
    let broker = &mut coordinator(bootstrap, "members-old").await;
    for (version, group) in [
        (0, "members-old-0"),
        (1, "members-old-1"),
        (3, "members-old-3"),
    ] {
        let joined = join_in(broker, version, &joining(group, "")).await;
        let id = joined.member_id.clone();
        let expected = Joined {
            protocol_type: None,
            ..Joined::member(1, &id, &id, &[&id])
        };
        assert_eq!(joined, expected, "version {version}");
        let refused = join_in(broker, version, &joining(group, "someone")).await;
        let expected = Joined {
            protocol_name: Some(String::new()),
            ..Joined::refused(25, "someone")
        };
        assert_eq!(refused, expected, "version {version}");
    }
}

pub(super) async fn one_member_joins_beats_and_leaves(bootstrap: &str) {
    let group = "members-one";
    let broker = &mut coordinator(bootstrap, group).await;
    let id = stable_group(broker, group).await;
    assert_eq!(heartbeat(broker, group, &id, 1).await, 0);
    // Asking again brings the same assignment, whatever is assigned now.
    let again = sync(broker, &syncing(group, 1, &id, &[(&id, b"other")])).await;
    assert_eq!(again, Synced::assigned(b"all"));
    assert_eq!(leave(broker, 5, group, &[(&id, None)]).await, (0, vec![0]));
    assert_eq!(heartbeat(broker, group, &id, 1).await, 25);
    // Being empty is a generation of its own.
    let second = new_member_id(broker, group).await;
    let joined = join(broker, &joining(group, &second)).await;
    assert_eq!(joined, Joined::member(3, &second, &second, &[&second]));
}

pub(super) async fn a_second_member_makes_the_first_join_again(bootstrap: &str) {
    let group = "members-two";
    let first = &mut coordinator(bootstrap, group).await;
    let second = &mut Broker::connect(bootstrap).await;
    let leader = stable_group(first, group).await;
    let follower = new_member_id(second, group).await;
    assert_eq!(heartbeat(first, group, &leader, 1).await, 0);
    let (second_joined, first_joined) = tokio::join!(
        async { join(second, &joining(group, &follower)).await },
        async {
            wait_for_rebalance(first, group, &leader, 1).await;
            let preparing = sync(first, &syncing(group, 1, &leader, &[])).await;
            assert_eq!(preparing, Synced::refused(27));
            join(first, &joining(group, &leader)).await
        }
    );
    let both = [leader.as_str(), &follower];
    assert_eq!(first_joined, Joined::member(2, &leader, &leader, &both));
    assert_eq!(second_joined, Joined::member(2, &follower, &leader, &[]));
    // Until the leader has assigned, the other waits; members may beat meanwhile.
    let assignments: [(&str, &[u8]); 2] = [(&leader, b"a"), (&follower, b"b")];
    let (second_synced, first_synced) = tokio::join!(
        async { sync(second, &syncing(group, 2, &follower, &[])).await },
        async {
            assert_eq!(heartbeat(first, group, &leader, 2).await, 0);
            assert_eq!(heartbeat(first, group, &follower, 2).await, 0);
            sync(first, &syncing(group, 2, &leader, &assignments)).await
        }
    );
    assert_eq!(first_synced, Synced::assigned(b"a"));
    assert_eq!(second_synced, Synced::assigned(b"b"));
    // The follower goes; the leader must join again and is alone.
    assert_eq!(
        leave(second, 5, group, &[(&follower, None)]).await,
        (0, vec![0])
    );
    assert_eq!(heartbeat(first, group, &leader, 2).await, 27);
    let alone = join(first, &joining(group, &leader)).await;
    assert_eq!(alone, Joined::member(3, &leader, &leader, &[&leader]));
}

pub(super) async fn who_is_not_assigned_gets_nothing(bootstrap: &str) {
    let group = "members-unassigned";
    let broker = &mut coordinator(bootstrap, group).await;
    let id = new_member_id(broker, group).await;
    join(broker, &joining(group, &id)).await;
    let synced = sync(broker, &syncing(group, 1, &id, &[("someone", b"all")])).await;
    assert_eq!(synced, Synced::assigned(b""));
}

pub(super) async fn requests_of_others_are_refused(bootstrap: &str) {
    let group = "members-others";
    let broker = &mut coordinator(bootstrap, group).await;
    let id = stable_group(broker, group).await;
    let cases = [
        (group, id.as_str(), 0, 22),
        (group, &id, 2, 22),
        (group, &id, -1, 22),
        (group, "someone", 1, 25),
        (group, "", 1, 25),
        ("members-nobody", &id, 1, 25),
        ("", &id, 1, 24),
    ];
    for (group, member_id, generation, expected) in cases {
        let what = format!("{group} {member_id} {generation}");
        let code = heartbeat(broker, group, member_id, generation).await;
        assert_eq!(code, expected, "heartbeat {what}");
        let synced = sync(broker, &syncing(group, generation, member_id, &[])).await;
        assert_eq!(synced, Synced::refused(expected), "sync {what}");
    }
    let good = syncing(group, 1, &id, &[]);
    let other_type = SyncGroupRequest {
        protocol_type: Some("connect"),
        ..good.clone()
    };
    let other_name = SyncGroupRequest {
        protocol_name: Some("roundrobin"),
        ..good.clone()
    };
    let no_name = SyncGroupRequest {
        protocol_name: None,
        ..good.clone()
    };
    for request in [other_type, other_name, no_name] {
        assert_eq!(
            sync(broker, &request).await,
            Synced::refused(23),
            "{request:?}"
        );
    }
    let nameless = joining("", "");
    assert_eq!(join(broker, &nameless).await, Joined::refused(24, ""));
}

pub(super) async fn protocols_must_be_common_to_all(bootstrap: &str) {
    let group = "members-protocols";
    let broker = &mut coordinator(bootstrap, group).await;
    let none = JoinGroupRequest {
        protocols: Vec::new().into(),
        ..joining(group, "")
    };
    assert_eq!(join(broker, &none).await, Joined::refused(23, ""));
    let no_type = JoinGroupRequest {
        protocol_type: "",
        ..joining(group, "")
    };
    assert_eq!(join(broker, &no_type).await, Joined::refused(23, ""));
    let id = stable_group(broker, group).await;
    let other = JoinGroupRequest {
        protocols: protocols(&["roundrobin"]),
        ..joining(group, "")
    };
    assert_eq!(join(broker, &other).await, Joined::refused(23, ""));
    let other_type = JoinGroupRequest {
        protocol_type: "connect",
        ..joining(group, "")
    };
    assert_eq!(join(broker, &other_type).await, Joined::refused(23, ""));
    // Not even the only member can change to one that it did not name before.
    let own = JoinGroupRequest {
        protocols: protocols(&["roundrobin"]),
        ..joining(group, &id)
    };
    assert_eq!(join(broker, &own).await, Joined::refused(23, &id));
}

pub(super) async fn members_vote_for_a_protocol(bootstrap: &str) {
    let group = "members-vote";
    let preferring = |names: &[&'static str]| JoinGroupRequest {
        protocols: protocols(names),
        ..joining(group, "")
    };
    let requests = [
        preferring(&["mine", "range", "sticky"]),
        preferring(&["sticky", "range"]),
        preferring(&["sticky", "range", "yours"]),
    ];
    let mut members = Vec::new();
    for request in requests {
        let mut broker = coordinator(bootstrap, group).await;
        let id = join(&mut broker, &request).await.member_id;
        members.push((broker, request, id));
    }
    let [first, second, third] = &mut members[..] else {
        unreachable!("there are three")
    };
    let vote = async |(broker, request, id): &mut (Broker, JoinGroupRequest<'_>, String)| {
        let request = JoinGroupRequest {
            member_id: id,
            ..request.clone()
        };
        let joined = join(broker, &request).await;
        (joined.generation, joined.protocol_name.unwrap())
    };
    assert_eq!(vote(first).await, (1, "mine".to_owned()));
    // Those who have an id are waited for.
    let leader = first.2.clone();
    let votes = tokio::join!(vote(second), vote(third), async {
        wait_for_rebalance(&mut first.0, group, &leader, 1).await;
        vote(first).await
    });
    let expected = (2, "sticky".to_owned());
    assert_eq!(votes, (expected.clone(), expected.clone(), expected));
}

pub(super) async fn session_timeouts_have_limits(bootstrap: &str) {
    let group = "members-timeouts";
    let broker = &mut coordinator(bootstrap, group).await;
    for (session_timeout_ms, expected) in [(99, 26), (1_800_001, 26), (100, 79), (1_800_000, 79)] {
        let request = JoinGroupRequest {
            session_timeout_ms,
            ..joining(group, "")
        };
        assert_eq!(
            join(broker, &request).await.code,
            expected,
            "{session_timeout_ms} ms"
        );
    }
}

pub(super) async fn a_silent_member_is_removed(bootstrap: &str) {
    let group = "members-silent";
    let first = &mut coordinator(bootstrap, group).await;
    let second = &mut Broker::connect(bootstrap).await;
    let leader = stable_group(first, group).await;
    let silent = JoinGroupRequest {
        session_timeout_ms: 200,
        ..joining(group, "")
    };
    let follower = join(second, &silent).await.member_id;
    let silent = JoinGroupRequest {
        member_id: &follower,
        ..silent
    };
    let (second_joined, first_joined) =
        tokio::join!(async { join(second, &silent).await }, async {
            wait_for_rebalance(first, group, &leader, 1).await;
            join(first, &joining(group, &leader)).await
        });
    assert_eq!((first_joined.code, first_joined.members.len()), (0, 2));
    assert_eq!(second_joined.code, 0);
    let synced = sync(first, &syncing(group, 2, &leader, &[])).await;
    assert_eq!(synced.code, 0);
    wait_for_rebalance(first, group, &leader, 2).await;
    let alone = join(first, &joining(group, &leader)).await;
    assert_eq!(alone, Joined::member(3, &leader, &leader, &[&leader]));
    assert_eq!(heartbeat(second, group, &follower, 2).await, 25);
}

pub(super) async fn who_never_comes_back_with_its_id_is_forgotten(bootstrap: &str) {
    let group = "members-forgotten";
    let broker = &mut coordinator(bootstrap, group).await;
    let leader = stable_group(broker, group).await;
    let short = JoinGroupRequest {
        session_timeout_ms: 200,
        ..joining(group, "")
    };
    let id = join(broker, &short).await.member_id;
    // The next generation waits for it no longer than its session lasts.
    let alone = join(broker, &joining(group, &leader)).await;
    assert_eq!(alone, Joined::member(2, &leader, &leader, &[&leader]));
    let late = join(broker, &joining(group, &id)).await;
    assert_eq!(late, Joined::refused(25, &id));
}

pub(super) async fn members_that_do_not_join_again_are_left_out(bootstrap: &str) {
    let group = "members-late";
    let first = &mut coordinator(bootstrap, group).await;
    let second = &mut Broker::connect(bootstrap).await;
    let quick = |member_id| JoinGroupRequest {
        rebalance_timeout_ms: 300,
        ..joining(group, member_id)
    };
    let late = new_member_id(first, group).await;
    assert_eq!(join(first, &quick(&late)).await.code, 0);
    assert_eq!(sync(first, &syncing(group, 1, &late, &[])).await.code, 0);
    let id = new_member_id(second, group).await;
    let joined = join(second, &quick(&id)).await;
    assert_eq!(joined, Joined::member(2, &id, &id, &[&id]));
    assert_eq!(heartbeat(first, group, &late, 1).await, 25);
    // The same for who joins but does not ask for its assignment.
    eventually(async || heartbeat(second, group, &id, 2).await == 25).await;
}

pub(super) async fn a_member_that_joins_unchanged_is_told_the_same(bootstrap: &str) {
    let group = "members-unchanged";
    let first = &mut coordinator(bootstrap, group).await;
    let second = &mut Broker::connect(bootstrap).await;
    let leader = stable_group(first, group).await;
    let follower = new_member_id(second, group).await;
    let (second_joined, first_joined) = tokio::join!(
        async { join(second, &joining(group, &follower)).await },
        async {
            wait_for_rebalance(first, group, &leader, 1).await;
            join(first, &joining(group, &leader)).await
        }
    );
    // While the assignment is awaited, both; when all have theirs, only the follower.
    assert_eq!(join(first, &joining(group, &leader)).await, first_joined);
    assert_eq!(
        join(second, &joining(group, &follower)).await,
        second_joined
    );
    assert_eq!(sync(first, &syncing(group, 2, &leader, &[])).await.code, 0);
    assert_eq!(
        sync(second, &syncing(group, 2, &follower, &[])).await.code,
        0
    );
    assert_eq!(
        join(second, &joining(group, &follower)).await,
        second_joined
    );
    assert_eq!(heartbeat(first, group, &leader, 2).await, 0);
    let (first_joined, second_joined) = tokio::join!(
        async { join(first, &joining(group, &leader)).await },
        async {
            wait_for_rebalance(second, group, &follower, 2).await;
            join(second, &joining(group, &follower)).await
        }
    );
    let both = [leader.as_str(), &follower];
    assert_eq!(first_joined, Joined::member(3, &leader, &leader, &both));
    assert_eq!(second_joined, Joined::member(3, &follower, &leader, &[]));
}

pub(super) async fn a_rebalance_calls_back_those_who_wait_for_an_assignment(bootstrap: &str) {
    let group = "members-called-back";
    let first = &mut coordinator(bootstrap, group).await;
    let second = &mut Broker::connect(bootstrap).await;
    let third = &mut Broker::connect(bootstrap).await;
    let leader = stable_group(first, group).await;
    let follower = new_member_id(second, group).await;
    tokio::join!(
        async { join(second, &joining(group, &follower)).await },
        async {
            wait_for_rebalance(first, group, &leader, 1).await;
            join(first, &joining(group, &leader)).await
        }
    );
    let (waited, ()) = tokio::join!(
        async { sync(second, &syncing(group, 2, &follower, &[])).await },
        async {
            // It may come before the other's request; then that is refused with the same code.
            assert_eq!(
                leave(third, 5, group, &[(&leader, None)]).await,
                (0, vec![0])
            );
        }
    );
    assert_eq!(waited, Synced::refused(27));
    let joined = join(second, &joining(group, &follower)).await;
    assert_eq!(
        joined,
        Joined::member(3, &follower, &follower, &[&follower])
    );
}

fn static_member<'a>(group: &'a str, member_id: &'a str) -> JoinGroupRequest<'a> {
    JoinGroupRequest {
        group_instance_id: Some("instance"),
        ..joining(group, member_id)
    }
}

fn static_sync<'a>(
    group: &'a str,
    member_id: &'a str,
    assignments: &[(&'a str, &'a [u8])],
) -> SyncGroupRequest<'a> {
    SyncGroupRequest {
        group_instance_id: Some("instance"),
        ..syncing(group, 1, member_id, assignments)
    }
}

pub(super) async fn a_static_member_takes_the_place_of_its_old_self(bootstrap: &str) {
    let group = "members-static";
    let broker = &mut coordinator(bootstrap, group).await;
    let joined = join(broker, &static_member(group, "")).await;
    let old = joined.member_id.clone();
    assert_eq!(joined, Joined::member(1, &old, &old, &[&old]));
    let (instance, id) = old.split_at("instance-".len());
    assert_eq!((instance, id.len()), ("instance-", 36), "{old}");
    let synced = sync(broker, &static_sync(group, &old, &[(&old, b"all")])).await;
    assert_eq!(synced, Synced::assigned(b"all"));
    // No rebalance, the same generation; the leader need not assign.
    let joined = join(broker, &static_member(group, "")).await;
    let new = joined.member_id.clone();
    let expected = Joined {
        skip_assignment: true,
        ..Joined::member(1, &new, &new, &[&new])
    };
    assert_eq!(joined, expected);
    let synced = sync(broker, &static_sync(group, &new, &[])).await;
    assert_eq!(synced, Synced::assigned(b"all"));
    // The old self is fenced in whatever it does.
    let fenced = join(broker, &static_member(group, &old)).await;
    assert_eq!(fenced, Joined::refused(82, &old));
    let fenced = sync(broker, &static_sync(group, &old, &[])).await;
    assert_eq!(fenced, Synced::refused(82));
    let beat = HeartbeatRequest {
        group_id: group,
        generation_id: 1,
        member_id: &old,
        group_instance_id: Some("instance"),
    };
    let answer = broker.ask(&beat).await;
    assert_eq!(answer.decode().error_code, ErrorCode::FENCED_INSTANCE_ID);
    assert_eq!(heartbeat(broker, group, &old, 1).await, 25);
    let named = [(old.as_str(), Some("instance")), (&new, Some("other"))];
    assert_eq!(leave(broker, 5, group, &named).await, (0, vec![82, 25]));
    // Before version 9 a leader cannot be told to skip: it hears of its old self as the leader.
    let joined = join_in(broker, 8, &static_member(group, "")).await;
    let newest = joined.member_id.clone();
    assert_eq!(joined, Joined::member(1, &newest, &new, &[]));
    // An administrator needs only the instance.
    let named = [("", Some("instance")), ("", Some("instance")), ("", None)];
    assert_eq!(leave(broker, 5, group, &named).await, (0, vec![0, 25, 25]));
}

pub(super) async fn a_static_member_that_waits_is_fenced_by_its_new_self(bootstrap: &str) {
    let group = "members-static-waits";
    let first = &mut coordinator(bootstrap, group).await;
    let second = &mut Broker::connect(bootstrap).await;
    let third = &mut Broker::connect(bootstrap).await;
    let leader = stable_group(first, group).await;
    let (fenced, is_fenced) = oneshot::channel();
    let (old_joined, new_joined, first_joined) = tokio::join!(
        async {
            let joined = join(second, &static_member(group, "")).await;
            fenced.send(()).unwrap();
            joined
        },
        async {
            // The instance is known as soon as the first has to join again.
            wait_for_rebalance(third, group, &leader, 1).await;
            join(third, &static_member(group, "")).await
        },
        async {
            is_fenced.await.unwrap();
            join(first, &joining(group, &leader)).await
        },
    );
    assert_eq!(
        (first_joined.generation, first_joined.members.len()),
        (2, 2)
    );
    let old = Joined::refused(82, &old_joined.member_id);
    assert_eq!(old_joined, old);
    let new = new_joined.member_id.clone();
    assert_eq!(new_joined, Joined::member(2, &new, &leader, &[]));
}

pub(super) async fn strangers_leave_in_vain(bootstrap: &str) {
    let group = "members-leave";
    let broker = &mut coordinator(bootstrap, group).await;
    let id = stable_group(broker, group).await;
    let pending = new_member_id(broker, group).await;
    for version in 0..=5 {
        let (code, codes): (i16, Vec<i16>) = if version < 3 {
            (25, vec![])
        } else {
            (0, vec![25])
        };
        for group in [group, "members-leave-nobody"] {
            let left = leave(broker, version, group, &[("someone", None)]).await;
            assert_eq!(left, (code, codes.clone()), "{group} version {version}");
        }
    }
    println!("{:?}", leave(broker, 5, "", &[(&id, None)]).await);
    // Nobody went, so nobody must join again; who has yet to join is none of the others' business.
    assert_eq!(
        leave(broker, 2, group, &[(&pending, None)]).await,
        (0, vec![])
    );
    println!("beat {:?}", heartbeat(broker, group, &id, 1).await);
}
