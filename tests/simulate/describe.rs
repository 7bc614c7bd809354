//! Actions in a few words, for traces.

use kmirror::flow::{Action, Flow, PartitionId};
use kmirror_protocol::records::BatchHeader;

pub(super) fn action(action: &Action, flow: &Flow) -> String {
    let name = |id: PartitionId| {
        let names = flow.names(id);
        names.map_or_else(String::new, |it| format!("{}-{}", it.topic, it.partition))
    };
    match action {
        Action::Fetch {
            node, partitions, ..
        } => {
            let what = partitions.iter();
            let what: Vec<_> = what
                .map(|it| format!("{}@{}", name(it.id), it.fetch_offset))
                .collect();
            format!("Fetch from {node}: {}", what.join(" "))
        }
        Action::Produce { node, batches, .. } => {
            let what = batches.iter().map(|(id, batch)| {
                let header = BatchHeader::parse(&batch.header).unwrap();
                format!(
                    "{} {}/{} {}..={}",
                    name(*id),
                    header.producer_id,
                    header.producer_epoch,
                    header.base_sequence,
                    header.last_sequence()
                )
            });
            let what: Vec<_> = what.collect();
            format!("Produce to {node}: {}", what.join(" "))
        }
        Action::StorePositions { records, .. } | Action::WriteState { records, .. } => {
            let what = records.iter().map(|record| {
                let value = record.value.as_deref().map(String::from_utf8_lossy);
                let key = String::from_utf8_lossy(&record.key);
                format!("{key} = {}", value.unwrap_or_default())
            });
            let what: Vec<_> = what.collect();
            format!("store {}", what.join(" "))
        }
        other => format!("{other:?}"),
    }
}
