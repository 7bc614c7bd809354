//! What a cluster deletes by age or by key, and what was there before.
//!
//! A copy that was deleted had been there: it is neither lost nor, when it stays gone, to be copied
//! again. So the books keep it at its offset, until the log itself has something else to say there.

use std::collections::BTreeMap;

use super::{
    clusters::{ClusterSide, LogRecord, Place},
    plan::Micros,
};

/// Deleted records by partition and offset.
pub(super) type Deleted = BTreeMap<Place, BTreeMap<i64, LogRecord>>;

impl ClusterSide {
    /// What somebody has seen of a partition who has read it all the time: what is there, and what
    /// was deleted from between or before.
    pub(super) fn read_ever(&self, topic: &str, partition: i32) -> Vec<LogRecord> {
        let present = self.read(topic, partition);
        let Some(deleted) = self.deleted.get(&(topic.to_owned(), partition)) else {
            return present;
        };
        let present = present.into_iter().map(|record| (record.offset, record));
        let mut all = deleted.clone();
        all.extend(present);
        all.into_values().collect()
    }

    /// Deletes the oldest records of a partition, per mille of what it has; what is not committed
    /// stays.
    ///
    /// As with Kafka's retention a segment has been begun before: what the log knew of producers
    /// then is in a snapshot.
    pub(super) fn delete_oldest(&mut self, now: Micros, place: &Place, per_mille: u32) {
        const HIGH_WATERMARK: i64 = -1;
        let Some(range) = self.cluster.log_range(&place.0, place.1) else {
            return;
        };
        let len = range.end - range.start;
        let offset = match per_mille {
            1_000 => HIGH_WATERMARK,
            _ => range.start + len * i64::from(per_mille) / 1_000,
        };
        let before = self.read(&place.0, place.1);
        self.cluster.take_producer_snapshots();
        self.delete_records(now, place, offset);
        self.note_deleted(place, before);
    }

    /// Compacts the partitions of a topic whose policy says so.
    pub(super) fn compact(&mut self, now: Micros, topic: &str) {
        let places = self.places().into_iter().filter(|place| place.0 == topic);
        let before = places.map(|place| {
            let records = self.read(&place.0, place.1);
            (place, records)
        });
        let before: Vec<_> = before.collect();
        let time = self.time(now);
        // A topic that is not there yet has nothing to lose.
        let _ = self.cluster.compact(topic, time);
        for (place, records) in before {
            self.note_deleted(&place, records);
        }
    }

    /// Notes what of these records is gone; that there are others in their place is not said.
    fn note_deleted(&mut self, place: &Place, before: Vec<LogRecord>) {
        let present = self.read(&place.0, place.1).into_iter();
        let present: BTreeMap<i64, LogRecord> =
            present.map(|record| (record.offset, record)).collect();
        let gone = before.into_iter();
        let gone = gone.filter(|record| !present.contains_key(&record.offset));
        let deleted = self.deleted.entry(place.clone()).or_default();
        deleted.extend(gone.map(|record| (record.offset, record)));
    }

    /// Forgets what was deleted beyond the end of a log that an election has shortened, which would
    /// have been lost with the rest; what that is. A log that starts beyond has had it.
    pub(super) fn forget_deleted(&mut self, place: &Place) -> Vec<LogRecord> {
        let range = self.cluster.log_range(&place.0, place.1);
        let start_offset = range.map_or(0, |range| range.start);
        let end_offset = self.end_offset(&place.0, place.1);
        let deleted = self.deleted.entry(place.clone()).or_default();
        let undone = self.undone.entry(place.clone()).or_default();
        let still_undone = undone.split_off(&start_offset);
        deleted.extend(std::mem::replace(undone, still_undone));
        let lost = deleted.split_off(&end_offset);
        undone.extend(lost.clone());
        lost.into_values().collect()
    }
}
