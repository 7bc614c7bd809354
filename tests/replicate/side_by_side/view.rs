//! What one of the two has made of its target, in words that can be laid side by side.

use std::collections::{BTreeMap, BTreeSet};

use crate::support::{
    java_client::{Blob, Isolation, JavaClient},
    kafka::Kafka,
};

/// What is looked at, to what was found: `topic A.orders`, to `3 partitions, no settings`.
pub(super) type View = BTreeMap<String, String>;

/// A group and a place on the target.
pub(super) type Place = (String, String, i32);

/// The offsets of the records that a program copies, of each source partition.
pub(super) type Offsets = BTreeMap<(String, i32), Vec<i64>>;

/// A checkpoint as it stands in its topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) upstream: i64,
    pub(super) downstream: i64,
}

/// One target and what there is to know about its source.
pub(super) struct Side<'a> {
    pub(super) name: &'a str,
    pub(super) cluster: &'a Kafka,
    /// Of source topics, by the names of their copies.
    pub(super) copied: Offsets,
    pub(super) groups: &'a [&'a str],
}

impl Side<'_> {
    fn java(&self) -> JavaClient {
        self.cluster.java()
    }

    /// Everything that is compared.
    pub(super) fn view(&self) -> View {
        let topics: Vec<String> = self.java().topics();
        let mut view = View::new();
        for topic in &topics {
            view.insert(format!("topic {topic}"), self.described(topic));
        }
        for topic in topics.iter().filter(|topic| is_data(topic)) {
            for digest in self.java().digest(topic, Isolation::ReadCommitted) {
                let (what, count) = (digest.partition, digest.count);
                let hash = digest.sha256.split_at(6).0.to_owned();
                view.insert(
                    format!("records of {topic}-{what}"),
                    format!("{count} ({hash})"),
                );
            }
        }
        for (place, told) in self.checkpoints() {
            let (what, again) = (
                place_name(&place),
                self.read_again(&place, told.upstream, told.downstream),
            );
            view.insert(
                format!("checkpoint {what}"),
                format!("{} -> {} ({again} again)", told.upstream, told.downstream),
            );
        }
        view.extend(self.commits());
        view.extend(self.offset_syncs());
        view.extend(self.heartbeats());
        view.extend(self.positions());
        view
    }

    fn described(&self, topic: &str) -> String {
        let partitions = self.java().describe_topic(topic).partitions.len();
        let config = self.java().config(topic).into_iter();
        let config: Vec<String> = config
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        format!("{partitions} partitions; {}", config.join(" "))
    }

    /// How many records a group reads again that goes on at `downstream`, having read everything
    /// below `upstream`; negative if it misses some.
    pub(super) fn read_again(
        &self,
        (_, topic, partition): &Place,
        upstream: i64,
        downstream: i64,
    ) -> i64 {
        let offsets = self.copied.get(&(topic.clone(), *partition));
        // The copies stand without holes from offset 0 on, so the image of a position is how many
        // copied records come before it.
        let image = offsets.map_or(0, |offsets| {
            offsets.partition_point(|offset| *offset < upstream)
        });
        i64::try_from(image).unwrap() - downstream
    }

    /// The newest checkpoint of each place; fails when one is followed by a lower one although its
    /// group has not gone back.
    pub(super) fn checkpoints(&self) -> BTreeMap<Place, Told> {
        let mut checkpoints: BTreeMap<Place, Told> = BTreeMap::new();
        for (key, value) in self.records("A.checkpoints.internal") {
            let (mut key, mut value) = (Fields(&key), Fields(&value));
            let place = (key.text(), key.text(), key.i32());
            let _version = value.i16();
            let told = Told {
                upstream: value.i64(),
                downstream: value.i64(),
            };
            let former = checkpoints.insert(place.clone(), told);
            let went_back = former.is_some_and(|former| {
                told.downstream < former.downstream && told.upstream >= former.upstream
            });
            assert!(
                !went_back,
                "{}: {place:?} from {former:?} to {told:?}",
                self.name
            );
        }
        checkpoints
    }

    /// What is committed for the groups on the target.
    fn commits(&self) -> View {
        let mut view = View::new();
        for group in self.groups {
            for at in self.java().committed(group) {
                let place = (String::from(*group), at.topic, at.partition);
                view.insert(
                    format!("group {}", place_name(&place)),
                    format!("{} {}", at.offset, at.metadata),
                );
            }
        }
        view
    }

    fn offset_syncs(&self) -> View {
        let mut newest: BTreeMap<(String, i32), (i64, i64)> = BTreeMap::new();
        for (key, value) in self.records("mm2-offset-syncs.A.internal") {
            let (mut key, mut value) = (Fields(&key), Fields(&value));
            newest.insert((key.text(), key.i32()), (value.i64(), value.i64()));
        }
        let is_data = newest
            .into_iter()
            .filter(|((topic, _), _)| topic != "heartbeats");
        is_data
            .map(|((topic, partition), (upstream, downstream))| {
                (
                    format!("offset sync {topic}-{partition}"),
                    format!("{upstream} -> {downstream}"),
                )
            })
            .collect()
    }

    fn heartbeats(&self) -> View {
        let mut view = View::new();
        for topic in ["heartbeats", "A.heartbeats"] {
            let keys: BTreeSet<(String, String)> = self
                .records(topic)
                .into_iter()
                .map(|(key, _)| {
                    let mut key = Fields(&key);
                    (key.text(), key.text())
                })
                .collect();
            view.insert(format!("keys of {topic}"), format!("{keys:?}"));
        }
        view
    }

    /// The stored positions; those of heartbeats, which are always under way, without their values.
    fn positions(&self) -> View {
        let mut view = View::new();
        for (key, value) in self.records("mm2-offsets.A.internal") {
            let (key, value) = (text(key), text(value));
            let value = if key.contains("heartbeats") {
                String::from("some")
            } else {
                value
            };
            view.insert(format!("position {key}"), value);
        }
        view
    }

    /// Keys and values of a topic's records, partition by partition in order.
    fn records(&self, topic: &str) -> Vec<(Vec<u8>, Vec<u8>)> {
        let records = self
            .java()
            .read(topic, Isolation::ReadCommitted)
            .into_iter();
        let bytes = |blob| match blob {
            Some(Blob::Bytes(bytes)) => bytes,
            other => panic!("{}: {topic} has {other:?} in a record", self.name),
        };
        records
            .map(|record| (bytes(record.content.key), bytes(record.content.value)))
            .collect()
    }
}

/// Whether a topic holds records that somebody else has written.
fn is_data(topic: &str) -> bool {
    let is_own =
        topic.starts_with("mm2-") || topic.starts_with("kmirror-") || topic.starts_with("__");
    !is_own && !topic.ends_with("heartbeats") && !topic.ends_with(".checkpoints.internal")
}

pub(super) fn place_name((group, topic, partition): &Place) -> String {
    format!("{group} {topic}-{partition}")
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap()
}

/// Fields that follow each other, as the keys and values of MM2's topics have them.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let (field, rest) = self.0.split_first_chunk().expect("a field");
        self.0 = rest;
        *field
    }

    fn i16(&mut self) -> i16 {
        i16::from_be_bytes(self.take())
    }

    fn i32(&mut self) -> i32 {
        i32::from_be_bytes(self.take())
    }

    fn i64(&mut self) -> i64 {
        i64::from_be_bytes(self.take())
    }

    fn text(&mut self) -> String {
        let length = usize::try_from(self.i16()).unwrap();
        let (field, rest) = self.0.split_at(length);
        self.0 = rest;
        text(field.to_vec())
    }
}
