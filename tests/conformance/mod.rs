//! Black-box probes of a broker, run against the sandbox and against real Apache Kafka.
//!
//! A probe is written once: requests, and the answers that both must give. Where one of them
//! differs its test fails, and the sandbox is wrong until shown otherwise. A probe uses topics of
//! its own, so all can share one broker.

mod access;
mod admin;
mod batches;
mod broker;
mod brokers;
mod compaction;
mod configs;
mod fetches;
mod groups;
mod groups_admin;
mod groups_members;
mod groups_offsets;
mod idempotence;
mod leaders;
mod lookups;
mod offsets;
mod questions;
mod replicas;
mod requests;
mod sessions;
mod topics;
mod transactional;
mod transactional_offsets;
mod transactional_reads;
mod transactions;

use std::{
    sync::OnceLock,
    time::{SystemTime, UNIX_EPOCH},
};

use kmirror::sandbox::{AuthorizerOptions, ClusterOptions, Timestamp, server::Server};

use crate::support::kafka::{Kafka, KafkaOptions};

/// The shortest session of a group's member, so that a test need not wait long for its end.
const SESSION_TIMEOUT_MIN_MS: i32 = 100;

/// Declares the two tests of each probe.
macro_rules! probes {
    (on $on_sandbox:ident $sandbox:ident, $on_kafka:ident $kafka:ident;
     $($group:ident: $($probe:ident),+ $(,)?;)+) => {
        mod $on_sandbox {
            $($(
                #[tokio::test]
                async fn $probe() {
                    let server = super::$sandbox().await;
                    super::$group::$probe(&server.bootstrap()).await;
                }
            )+)+
        }

        mod $on_kafka {
            $($(
                #[tokio::test]
                async fn $probe() {
                    let Some(bootstrap) = super::$kafka() else { return };
                    super::$group::$probe(bootstrap).await;
                }
            )+)+
        }
    };
}

probes! {
    on on_sandbox sandbox, on_kafka kafka;
    idempotence:
        a_producer_appends_only_what_continues_its_sequence,
        only_the_last_five_batches_are_recognised_again,
        sequence_numbers_wrap_inside_and_between_batches,
        a_higher_producer_epoch_starts_at_sequence_zero,
        producer_ids_are_given_out_once,
        the_last_sequence_of_each_producer_is_described;
    batches:
        a_header_that_breaks_a_rule_is_refused,
        a_payload_that_breaks_a_rule_is_refused,
        a_request_carries_one_whole_batch_per_partition,
        what_is_stored_differs_only_where_the_broker_must_change_it,
        a_compacted_topic_refuses_records_without_key,
        timestamps_out_of_range_are_refused_by_record,
        a_topic_can_stamp_its_records_itself,
        a_topic_can_have_a_codec_of_its_own,
        batches_above_the_limit_are_refused;
    requests:
        a_partition_listed_twice_is_appended_once,
        acks_decide_whether_a_request_is_answered,
        a_request_that_is_not_understood_ends_the_connection,
        bytes_after_the_last_field_are_passed_over,
        versions_can_be_asked_for_in_any_version,
        partitions_that_do_not_exist_are_named_as_such;
    offsets:
        deleted_records_move_the_log_start_and_nothing_else,
        records_of_a_compacted_topic_cannot_be_deleted,
        filler_brings_a_log_to_any_offset,
        offsets_are_found_by_time,
        leader_epochs_end_at_the_log_end;
    fetches:
        limits_hold_but_for_the_first_batch,
        a_batch_is_returned_whole_from_any_of_its_offsets,
        offsets_and_epochs_outside_the_log_are_refused,
        sessions_that_were_never_opened_are_not_found;
    topics:
        topics_that_cannot_be_are_refused,
        a_new_topic_is_described_as_it_was_created,
        a_deleted_topic_takes_its_id_with_it,
        partitions_can_be_added_but_not_taken_away;
    configs:
        configs_tell_where_they_come_from,
        configs_change_one_by_one;
    transactions:
        a_new_incarnation_fences_the_one_before,
        a_new_incarnation_aborts_what_is_open,
        a_producer_may_go_on_with_the_epoch_it_knows,
        ids_and_timeouts_have_limits,
        a_transaction_that_takes_too_long_is_aborted,
        an_abort_settles_what_has_become_of_a_transaction,
        a_producer_that_is_shut_out_can_tell_by_whom,
        partitions_are_added_all_or_none,
        only_what_the_coordinator_knows_may_be_written,
        a_transaction_takes_only_its_own_batches,
        the_old_protocol_ends_a_transaction_in_place,
        the_new_protocol_bumps_the_epoch_at_each_end,
        an_open_transaction_is_described,
        transactions_are_listed_by_filter;
    transactional_reads:
        a_transaction_is_hidden_until_it_commits,
        a_marker_is_a_control_batch_of_one_record,
        aborted_transactions_are_listed_as_far_as_the_range_goes,
        a_limited_range_lists_what_its_index_entry_covers,
        an_empty_transaction_takes_one_offset_per_partition,
        sequences_restart_where_the_epoch_is_bumped,
        times_lead_to_markers_too;
    transactional_offsets:
        offsets_count_when_their_transaction_commits,
        offsets_outside_a_transaction_are_refused;
    sessions:
        a_session_tells_only_what_is_new,
        partitions_come_and_go_in_a_session,
        a_session_goes_on_only_where_it_was_left,
        a_new_session_takes_the_place_of_the_old,
        sessions_by_name_work_as_those_by_id,
        errors_are_told_every_time_and_so_is_their_end,
        a_log_that_begins_elsewhere_is_told,
        a_topic_that_is_gone_or_another_is_noticed;
    groups:
        every_version_finds_coordinators,
        coordinators_of_other_kinds_are_refused;
    groups_members:
        a_new_member_is_given_an_id_to_join_with,
        before_version_4_a_new_member_joins_at_once,
        one_member_joins_beats_and_leaves,
        a_second_member_makes_the_first_join_again,
        who_is_not_assigned_gets_nothing,
        requests_of_others_are_refused,
        protocols_must_be_common_to_all,
        members_vote_for_a_protocol,
        session_timeouts_have_limits,
        a_silent_member_is_removed,
        who_never_comes_back_with_its_id_is_forgotten,
        members_that_do_not_join_again_are_left_out,
        a_member_that_joins_unchanged_is_told_the_same,
        a_rebalance_calls_back_those_who_wait_for_an_assignment,
        a_static_member_takes_the_place_of_its_old_self,
        a_static_member_that_waits_is_fenced_by_its_new_self,
        strangers_leave_in_vain;
    groups_offsets:
        an_empty_group_takes_offsets_from_anyone,
        members_commit_in_their_generation,
        offsets_are_fetched_in_every_shape,
        several_groups_are_fetched_at_once,
        offsets_are_committed_by_topic_id,
        what_cannot_be_committed_is_refused_by_partition,
        offsets_go_with_their_topic,
        offsets_that_nobody_uses_can_be_deleted,
        offsets_of_unknown_producers_are_refused;
    groups_admin:
        groups_are_listed_by_state_and_type,
        groups_are_described_in_every_state,
        a_classic_group_is_not_described_as_another,
        only_empty_groups_can_be_deleted;
    admin:
        versions_and_features_are_those_of_kafka_4_3,
        topics_are_described_page_by_page,
        resources_with_configs_are_listed_by_type,
        configs_can_be_replaced_as_a_whole,
        log_dirs_tell_how_much_partitions_hold,
        quotas_are_set_described_and_removed,
        quotas_that_cannot_be_are_refused,
        scram_users_are_told_without_their_secrets;
    access:
        without_an_authorizer_there_are_no_rules,
        without_sasl_nobody_can_say_who_they_are;
    questions:
        logs_are_found_by_their_ends_times_epochs_and_producers,
        what_is_written_is_read_back_and_its_last_offsets_are_told,
        who_waits_for_news_hears_it_at_once,
        what_is_no_state_is_passed_over,
        a_topic_that_is_gone_or_another_is_not_read_on;
}

probes! {
    on on_secured_sandbox secured_sandbox, on_secured_kafka secured_kafka;
    access:
        rules_are_created_described_and_deleted,
        rules_decide_who_may_do_what;
}

/// Declares the two tests of each probe that needs several brokers.
macro_rules! cluster_probes {
    ($($group:ident: $($probe:ident),+ $(,)?;)+) => {
        mod on_sandbox_brokers {
            use super::brokers::Brokers;

            $($(
                #[tokio::test]
                async fn $probe() {
                    super::$group::$probe(&mut Brokers::sandbox().await).await;
                }
            )+)+
        }

        mod on_kafka_brokers {
            use super::brokers::Brokers;

            $($(
                #[tokio::test]
                async fn $probe() {
                    let Some(mut brokers) = Brokers::kafka().await else { return };
                    super::$group::$probe(&mut brokers).await;
                }
            )+)+
        }
    };
}

cluster_probes! {
    leaders:
        an_in_sync_follower_takes_over_with_all_that_was_acknowledged,
        an_unclean_leader_shows_what_was_lost,
        only_the_leader_takes_batches_and_others_name_it,
        epochs_that_are_over_or_to_come_are_refused,
        an_epoch_ends_where_the_next_leader_began,
        a_partition_without_leader_says_so,
        the_preferred_leader_is_elected_on_request,
        a_leader_out_of_sync_is_elected_on_request;
    replicas:
        too_few_in_sync_replicas_stop_acknowledgements,
        acks_of_all_wait_for_followers,
        a_killed_broker_remembers_producers_from_its_log,
        a_stopped_broker_is_no_part_of_the_cluster;
    compaction:
        the_newest_record_of_each_key_is_left;
    questions:
        the_log_end_is_told_beyond_the_high_watermark_of_the_target_alone,
        epochs_that_are_over_are_fenced_and_diverging_logs_told;
}

/// A broker of the sandbox whose clock is right.
async fn sandbox() -> Server {
    start_sandbox(None).await
}

/// One where everybody may do what no rule is about.
async fn secured_sandbox() -> Server {
    start_sandbox(Some(AuthorizerOptions {
        allow_everyone_if_no_acl_found: true,
        ..AuthorizerOptions::default()
    }))
    .await
}

async fn start_sandbox(authorizer: Option<AuthorizerOptions>) -> Server {
    let mut options = ClusterOptions::new("conformance", 1);
    options.brokers[0].id = 1;
    options.authorizer = authorizer;
    options.group_min_session_timeout_ms = SESSION_TIMEOUT_MIN_MS;
    Server::start(options, Timestamp(now_ms())).await.unwrap()
}

/// The broker of Kafka that all probes share; `None` where Java or Maven is missing.
fn kafka() -> Option<&'static str> {
    static KAFKA: OnceLock<Option<(Kafka, String)>> = OnceLock::new();
    start_kafka(&KAFKA, &[USUAL_TIMESTAMPS])
}

/// The same of the probes of a broker where everybody may do what no rule is about.
fn secured_kafka() -> Option<&'static str> {
    static KAFKA: OnceLock<Option<(Kafka, String)>> = OnceLock::new();
    let authorizer = "org.apache.kafka.metadata.authorizer.StandardAuthorizer";
    let properties = [
        USUAL_TIMESTAMPS,
        ("authorizer.class.name", authorizer),
        ("allow.everyone.if.no.acl.found", "true"),
    ];
    start_kafka(&KAFKA, &properties)
}

/// Kafka's default again, which the harness widens for tests with old records.
const USUAL_TIMESTAMPS: (&str, &str) = ("log.message.timestamp.after.max.ms", "3600000");

fn start_kafka(
    shared: &'static OnceLock<Option<(Kafka, String)>>,
    properties: &[(&str, &str)],
) -> Option<&'static str> {
    let start = || {
        let session_timeout_min = SESSION_TIMEOUT_MIN_MS.to_string();
        let shortest = ("group.min.session.timeout.ms", &*session_timeout_min);
        let properties = &[properties, &[shortest]].concat();
        let kafka = Kafka::start(&KafkaOptions {
            properties,
            ..KafkaOptions::default()
        })?;
        let bootstrap = kafka.bootstrap();
        Some((kafka, bootstrap))
    };
    let kafka = shared.get_or_init(start).as_ref();
    kafka.map(|(_, bootstrap)| bootstrap.as_str())
}

#[expect(
    clippy::disallowed_methods,
    reason = "a real broker compares timestamps with its wall clock"
)]
fn now_ms() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(now.as_millis()).unwrap()
}
