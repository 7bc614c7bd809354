//! The messages, one file per API: its tables and what changed in which version.
//!
//! Field names are Kafka's in snake case. A file's first line names the API key and the versions
//! it implements, both directions. Source: Kafka's message schemas, `common/message/*.json`.

pub mod api_versions;
pub mod create_partitions;
pub mod create_topics;
pub mod delete_records;
pub mod delete_topics;
pub mod describe_cluster;
pub mod describe_configs;
pub mod describe_producers;
pub mod fetch;
pub mod incremental_alter_configs;
pub mod init_producer_id;
pub mod leaders;
pub mod list_offsets;
pub mod metadata;
pub mod offset_for_leader_epoch;
pub mod produce;

pub use api_versions::{ApiVersionsRequest, ApiVersionsResponse};
pub use create_partitions::{CreatePartitionsRequest, CreatePartitionsResponse};
pub use create_topics::{CreateTopicsRequest, CreateTopicsResponse};
pub use delete_records::{DeleteRecordsRequest, DeleteRecordsResponse};
pub use delete_topics::{DeleteTopicsRequest, DeleteTopicsResponse};
pub use describe_cluster::{DescribeClusterRequest, DescribeClusterResponse};
pub use describe_configs::{DescribeConfigsRequest, DescribeConfigsResponse};
pub use describe_producers::{DescribeProducersRequest, DescribeProducersResponse};
pub use fetch::{FetchRequest, FetchResponse};
pub use incremental_alter_configs::{
    IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse,
};
pub use init_producer_id::{InitProducerIdRequest, InitProducerIdResponse};
pub use list_offsets::{ListOffsetsRequest, ListOffsetsResponse};
pub use metadata::{MetadataRequest, MetadataResponse};
pub use offset_for_leader_epoch::{OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse};
pub use produce::{ProduceRequest, ProduceResponse};

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
            ApiVersionsRequest<'static> => ApiVersionsResponse,
            CreateTopicsRequest<'static> => CreateTopicsResponse,
            DeleteTopicsRequest<'static> => DeleteTopicsResponse,
            DeleteRecordsRequest<'static> => DeleteRecordsResponse,
            InitProducerIdRequest<'static> => InitProducerIdResponse,
            OffsetForLeaderEpochRequest<'static> => OffsetForLeaderEpochResponse,
            DescribeConfigsRequest<'static> => DescribeConfigsResponse,
            CreatePartitionsRequest<'static> => CreatePartitionsResponse,
            IncrementalAlterConfigsRequest<'static> => IncrementalAlterConfigsResponse,
            DescribeClusterRequest => DescribeClusterResponse,
            DescribeProducersRequest<'static> => DescribeProducersResponse,
        }
    };
}
