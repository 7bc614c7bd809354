//! The messages, one file per API: its tables and what changed in which version.
//!
//! Field names are Kafka's in snake case. A file's first line names the API key and the versions
//! it implements, both directions. Source: Kafka's message schemas, `common/message/*.json`.

pub mod add_offsets_to_txn;
pub mod add_partitions_to_txn;
pub mod alter_client_quotas;
pub mod alter_configs;
pub mod alter_user_scram_credentials;
pub mod api_versions;
pub mod consumer_group_describe;
pub mod create_acls;
pub mod create_partitions;
pub mod create_topics;
pub mod delete_acls;
pub mod delete_groups;
pub mod delete_records;
pub mod delete_topics;
pub mod describe_acls;
pub mod describe_client_quotas;
pub mod describe_cluster;
pub mod describe_configs;
pub mod describe_groups;
pub mod describe_log_dirs;
pub mod describe_producers;
pub mod describe_topic_partitions;
pub mod describe_transactions;
pub mod describe_user_scram_credentials;
pub mod elect_leaders;
pub mod end_txn;
pub mod fetch;
pub mod find_coordinator;
pub mod heartbeat;
pub mod incremental_alter_configs;
pub mod init_producer_id;
pub mod join_group;
pub mod leaders;
pub mod leave_group;
pub mod list_config_resources;
pub mod list_groups;
pub mod list_offsets;
pub mod list_transactions;
pub mod metadata;
pub mod offset_commit;
pub mod offset_delete;
pub mod offset_fetch;
pub mod offset_for_leader_epoch;
pub mod produce;
pub mod sasl_authenticate;
pub mod sasl_handshake;
pub mod sync_group;
pub mod txn_offset_commit;

pub use add_offsets_to_txn::{AddOffsetsToTxnRequest, AddOffsetsToTxnResponse};
pub use add_partitions_to_txn::{AddPartitionsToTxnRequest, AddPartitionsToTxnResponse};
pub use alter_client_quotas::{AlterClientQuotasRequest, AlterClientQuotasResponse};
pub use alter_configs::{AlterConfigsRequest, AlterConfigsResponse};
pub use alter_user_scram_credentials::{
    AlterUserScramCredentialsRequest, AlterUserScramCredentialsResponse,
};
pub use api_versions::{ApiVersionsRequest, ApiVersionsResponse};
pub use consumer_group_describe::{ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse};
pub use create_acls::{CreateAclsRequest, CreateAclsResponse};
pub use create_partitions::{CreatePartitionsRequest, CreatePartitionsResponse};
pub use create_topics::{CreateTopicsRequest, CreateTopicsResponse};
pub use delete_acls::{DeleteAclsRequest, DeleteAclsResponse};
pub use delete_groups::{DeleteGroupsRequest, DeleteGroupsResponse};
pub use delete_records::{DeleteRecordsRequest, DeleteRecordsResponse};
pub use delete_topics::{DeleteTopicsRequest, DeleteTopicsResponse};
pub use describe_acls::{DescribeAclsRequest, DescribeAclsResponse};
pub use describe_client_quotas::{DescribeClientQuotasRequest, DescribeClientQuotasResponse};
pub use describe_cluster::{DescribeClusterRequest, DescribeClusterResponse};
pub use describe_configs::{DescribeConfigsRequest, DescribeConfigsResponse};
pub use describe_groups::{DescribeGroupsRequest, DescribeGroupsResponse};
pub use describe_log_dirs::{DescribeLogDirsRequest, DescribeLogDirsResponse};
pub use describe_producers::{DescribeProducersRequest, DescribeProducersResponse};
pub use describe_topic_partitions::{
    DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse,
};
pub use describe_transactions::{DescribeTransactionsRequest, DescribeTransactionsResponse};
pub use describe_user_scram_credentials::{
    DescribeUserScramCredentialsRequest, DescribeUserScramCredentialsResponse,
};
pub use elect_leaders::{ElectLeadersRequest, ElectLeadersResponse};
pub use end_txn::{EndTxnRequest, EndTxnResponse};
pub use fetch::{FetchRequest, FetchResponse};
pub use find_coordinator::{FindCoordinatorRequest, FindCoordinatorResponse};
pub use heartbeat::{HeartbeatRequest, HeartbeatResponse};
pub use incremental_alter_configs::{
    IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse,
};
pub use init_producer_id::{InitProducerIdRequest, InitProducerIdResponse};
pub use join_group::{JoinGroupRequest, JoinGroupResponse};
pub use leave_group::{LeaveGroupRequest, LeaveGroupResponse};
pub use list_config_resources::{ListConfigResourcesRequest, ListConfigResourcesResponse};
pub use list_groups::{ListGroupsRequest, ListGroupsResponse};
pub use list_offsets::{ListOffsetsRequest, ListOffsetsResponse};
pub use list_transactions::{ListTransactionsRequest, ListTransactionsResponse};
pub use metadata::{MetadataRequest, MetadataResponse};
pub use offset_commit::{OffsetCommitRequest, OffsetCommitResponse};
pub use offset_delete::{OffsetDeleteRequest, OffsetDeleteResponse};
pub use offset_fetch::{OffsetFetchRequest, OffsetFetchResponse};
pub use offset_for_leader_epoch::{OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse};
pub use produce::{ProduceRequest, ProduceResponse};
pub use sasl_authenticate::{SaslAuthenticateRequest, SaslAuthenticateResponse};
pub use sasl_handshake::{SaslHandshakeRequest, SaslHandshakeResponse};
pub use sync_group::{SyncGroupRequest, SyncGroupResponse};
pub use txn_offset_commit::{TxnOffsetCommitRequest, TxnOffsetCommitResponse};

/// Expands `$with!` with the request and response type of every API in this module.
///
/// One list for whatever must not forget an API: the version table, tests, fuzzers. Requests that
/// borrow have their lifetime; the order is that of the API keys.
#[macro_export]
macro_rules! for_each_api {
    ($with:ident) => {
        $with! {
            ProduceRequest<'static> => ProduceResponse,
            FetchRequest<'static> => FetchResponse,
            ListOffsetsRequest<'static> => ListOffsetsResponse,
            MetadataRequest<'static> => MetadataResponse,
            OffsetCommitRequest<'static> => OffsetCommitResponse,
            OffsetFetchRequest<'static> => OffsetFetchResponse,
            FindCoordinatorRequest<'static> => FindCoordinatorResponse,
            JoinGroupRequest<'static> => JoinGroupResponse,
            HeartbeatRequest<'static> => HeartbeatResponse,
            LeaveGroupRequest<'static> => LeaveGroupResponse,
            SyncGroupRequest<'static> => SyncGroupResponse,
            DescribeGroupsRequest<'static> => DescribeGroupsResponse,
            ListGroupsRequest<'static> => ListGroupsResponse,
            SaslHandshakeRequest<'static> => SaslHandshakeResponse,
            ApiVersionsRequest<'static> => ApiVersionsResponse,
            CreateTopicsRequest<'static> => CreateTopicsResponse,
            DeleteTopicsRequest<'static> => DeleteTopicsResponse,
            DeleteRecordsRequest<'static> => DeleteRecordsResponse,
            InitProducerIdRequest<'static> => InitProducerIdResponse,
            OffsetForLeaderEpochRequest<'static> => OffsetForLeaderEpochResponse,
            AddPartitionsToTxnRequest<'static> => AddPartitionsToTxnResponse,
            AddOffsetsToTxnRequest<'static> => AddOffsetsToTxnResponse,
            EndTxnRequest<'static> => EndTxnResponse,
            TxnOffsetCommitRequest<'static> => TxnOffsetCommitResponse,
            DescribeAclsRequest<'static> => DescribeAclsResponse,
            CreateAclsRequest<'static> => CreateAclsResponse,
            DeleteAclsRequest<'static> => DeleteAclsResponse,
            DescribeConfigsRequest<'static> => DescribeConfigsResponse,
            AlterConfigsRequest<'static> => AlterConfigsResponse,
            DescribeLogDirsRequest<'static> => DescribeLogDirsResponse,
            SaslAuthenticateRequest<'static> => SaslAuthenticateResponse,
            CreatePartitionsRequest<'static> => CreatePartitionsResponse,
            DeleteGroupsRequest<'static> => DeleteGroupsResponse,
            ElectLeadersRequest<'static> => ElectLeadersResponse,
            IncrementalAlterConfigsRequest<'static> => IncrementalAlterConfigsResponse,
            OffsetDeleteRequest<'static> => OffsetDeleteResponse,
            DescribeClientQuotasRequest<'static> => DescribeClientQuotasResponse,
            AlterClientQuotasRequest<'static> => AlterClientQuotasResponse,
            DescribeUserScramCredentialsRequest<'static> => DescribeUserScramCredentialsResponse,
            AlterUserScramCredentialsRequest<'static> => AlterUserScramCredentialsResponse,
            DescribeClusterRequest => DescribeClusterResponse,
            DescribeProducersRequest<'static> => DescribeProducersResponse,
            DescribeTransactionsRequest<'static> => DescribeTransactionsResponse,
            ListTransactionsRequest<'static> => ListTransactionsResponse,
            ConsumerGroupDescribeRequest<'static> => ConsumerGroupDescribeResponse,
            ListConfigResourcesRequest<'static> => ListConfigResourcesResponse,
            DescribeTopicPartitionsRequest<'static> => DescribeTopicPartitionsResponse,
        }
    };
}
