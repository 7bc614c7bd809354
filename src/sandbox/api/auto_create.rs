//! Topics that come into being because somebody asks for their metadata.

use kmirror_protocol::messages::{MetadataRequest, create_topics::CreatableTopic};

use super::{Call, Cluster, topics};
use crate::sandbox::topic::is_internal_topic;

/// Creates the topics that a client asked for by name and that do not exist, where cluster and
/// client allow it.
///
/// Called when the answer is made: as with Kafka it still says `UNKNOWN_TOPIC_OR_PARTITION`, and
/// the client's next one does not. Internal topics and names that cannot be are left out.
/// Source: `DefaultAutoTopicCreationManager`.
pub(super) fn create_unknown(
    cluster: &mut Cluster,
    call: &Call<'_>,
    request: &MetadataRequest<'_>,
) {
    if !cluster.options.auto_create_topics || !request.allow_auto_topic_creation {
        return;
    }
    for wanted in request.topics.iter().flatten() {
        let Some(name) = wanted.name.filter(|name| !is_internal_topic(name)) else {
            continue;
        };
        let wanted = CreatableTopic {
            name,
            num_partitions: -1,
            replication_factor: -1,
            ..Default::default()
        };
        if topics::check_creation(cluster, call, name).is_err() {
            continue;
        }
        // A topic that exists is refused like any that cannot be.
        if let Ok(topic) = topics::new_topic(cluster, &wanted) {
            cluster.add_topic(topic);
        }
    }
}
