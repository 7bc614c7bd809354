//! Which record of the source comes before a position that somebody else has stored.
//!
//! That record must be on the target. It may be gone from the source, and what is there instead may
//! be markers, aborted records, or nothing where the cleaner has been. So the log is read from ever
//! further before the position, twice as far each time, until there is a live record below it, or
//! the log's start is reached: then the source has nothing that could be missing on the target.
//!
//! Pure: answers go in. Reads no more than twice what lies between that record and the position.

use crate::flow::{
    FetchedRecords,
    halt::HaltReason,
    proof::{FirstLive, first_live},
};

/// The search for one position.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hint {
    /// Everything below is supposed to be on the target.
    pub(super) stored_offset: i64,
    /// Where the source's log starts.
    start_offset: i64,
    /// From where on the log is being read.
    from_offset: i64,
    /// Where reading goes on.
    pub(super) asked_offset: i64,
}

/// What an answer has told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hinted {
    /// Nothing yet: the next question is another one.
    Ask,
    /// Nothing: the answer held not even one whole batch.
    Cut,
    /// A live record below the position.
    Record {
        /// Its offset.
        source_offset: i64,
        /// Its timestamp.
        timestamp: i64,
    },
    /// There is none.
    Nothing,
}

impl Hint {
    pub(super) fn new(stored_offset: i64, start_offset: i64) -> Self {
        let from_offset = stored_offset.saturating_sub(1).max(start_offset);
        Self {
            stored_offset,
            start_offset,
            from_offset,
            asked_offset: from_offset,
        }
    }

    /// Takes the records fetched at the asked offset.
    ///
    /// # Errors
    ///
    /// A batch below the position is damaged, or cannot be read.
    pub(super) fn take(&mut self, fetched: FetchedRecords) -> Result<Hinted, HaltReason> {
        Ok(match first_live(self.asked_offset, fetched)? {
            FirstLive::Cut => Hinted::Cut,
            FirstLive::Record { offset, timestamp } if offset < self.stored_offset => {
                Hinted::Record {
                    source_offset: offset,
                    timestamp,
                }
            }
            FirstLive::None { next_offset }
                if next_offset > self.asked_offset && next_offset < self.stored_offset =>
            {
                self.asked_offset = next_offset;
                Hinted::Ask
            }
            FirstLive::None { .. } | FirstLive::Record { .. } => self.nothing_there(),
        })
    }

    /// Notes that nothing is left between the asked offset and the position.
    pub(super) fn nothing_there(&mut self) -> Hinted {
        if self.from_offset <= self.start_offset {
            return Hinted::Nothing;
        }
        let distance = self.stored_offset.saturating_sub(self.from_offset);
        let further = self.from_offset.saturating_sub(distance);
        self.from_offset = further.max(self.start_offset);
        self.asked_offset = self.from_offset;
        Hinted::Ask
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use kmirror_protocol::records::{
        Attributes, BatchBuilder, BatchProducer, Compression, ControlType, EndTxnMarker, NewRecord,
    };

    use super::*;

    const TIME: i64 = 1_000;

    fn record(offset: i64) -> Vec<u8> {
        let mut builder = BatchBuilder::new(Compression::None).appended_at(offset, 0);
        let record = NewRecord {
            timestamp: TIME + offset,
            ..NewRecord::default()
        };
        builder.push(&record).unwrap();
        builder.build().unwrap().to_vec()
    }

    fn marker(offset: i64) -> Vec<u8> {
        let producer = BatchProducer {
            producer_id: 7,
            producer_epoch: 0,
            base_sequence: -1,
        };
        let mut builder = BatchBuilder::new(Compression::None)
            .appended_at(offset, 0)
            .producer(producer)
            .flags(Attributes::TRANSACTIONAL | Attributes::CONTROL);
        let end = EndTxnMarker {
            version: 0,
            coordinator_epoch: 0,
        };
        builder.push_marker(ControlType::Commit, end, 0).unwrap();
        builder.build().unwrap().to_vec()
    }

    /// Asks a log that has `live` records and else markers up to `end`, or nothing in `gone`, two
    /// batches at a time; what was found and the offsets that were asked.
    fn search(
        (stored, start, end): (i64, i64, i64),
        live: &[i64],
        gone: std::ops::Range<i64>,
    ) -> (Hinted, Vec<i64>) {
        let mut hint = Hint::new(stored, start);
        let mut asked = Vec::new();
        loop {
            asked.push(hint.asked_offset);
            let there = (hint.asked_offset..end).filter(|offset| !gone.contains(offset));
            let batches = there.take(2).map(|offset| match live.contains(&offset) {
                true => record(offset),
                false => marker(offset),
            });
            let records = batches.collect::<Vec<_>>().concat();
            let hinted = if records.is_empty() {
                hint.nothing_there()
            } else {
                let fetched = FetchedRecords {
                    records: Bytes::from(records),
                    high_watermark: end,
                    last_stable_offset: end,
                    aborted: Vec::new(),
                    diverging: None,
                };
                hint.take(fetched).unwrap()
            };
            if hinted != Hinted::Ask {
                return (hinted, asked);
            }
        }
    }

    /// The position with where the log starts and ends, what is live and what is gone; what is found
    /// and where the log was read from.
    type Case<'a> = (
        &'a str,
        (i64, i64, i64),
        &'a [i64],
        std::ops::Range<i64>,
        Hinted,
        &'a [i64],
    );

    #[test]
    fn the_live_record_nearest_to_where_the_log_was_read_from_is_found() {
        let at = |source_offset| Hinted::Record {
            source_offset,
            timestamp: TIME + source_offset,
        };
        let none = 0..0;
        #[rustfmt::skip]
        let cases: [Case<'_>; 9] = [
            ("just before", (9, 0, 20), &[8, 9], none.clone(), at(8), &[8]),
            ("before a marker", (9, 0, 20), &[7, 9], none.clone(), at(7), &[8, 7]),
            ("before many", (9, 0, 20), &[6], none.clone(), at(6), &[8, 7, 5]),
            ("further than an answer reaches", (9, 0, 20), &[4], none.clone(), at(4), &[8, 7, 5, 7, 1, 3]),
            ("where the cleaner has been", (9, 0, 20), &[2, 15], 3..14, at(2), &[8, 7, 5, 1]),
            ("at the end of what is left", (9, 0, 20), &[2], 3..20, at(2), &[8, 7, 5, 1]),
            ("no live one", (9, 0, 20), &[9], 0..9, Hinted::Nothing, &[8, 7, 5, 1, 0]),
            ("nothing below the position", (9, 9, 20), &[9], none.clone(), Hinted::Nothing, &[9]),
            ("an empty log", (9, 0, 9), &[], 0..9, Hinted::Nothing, &[8, 7, 5, 1, 0]),
        ];
        for (case, offsets, live, gone, expected, asked) in cases {
            let found = search(offsets, live, gone);
            assert_eq!(found, (expected, asked.to_vec()), "{case}");
        }
    }

    #[test]
    fn a_batch_that_is_cut_or_damaged_says_nothing() {
        let fetched = |records: Vec<u8>| FetchedRecords {
            records: Bytes::from(records),
            high_watermark: 9,
            last_stable_offset: 9,
            aborted: Vec::new(),
            diverging: None,
        };
        let mut hint = Hint::new(9, 0);
        let mut cut = record(8);
        cut.truncate(cut.len() - 1);
        assert_eq!(hint.take(fetched(cut)), Ok(Hinted::Cut));
        let mut damaged = record(8);
        *damaged.last_mut().unwrap() ^= 1;
        assert!(matches!(
            hint.take(fetched(damaged)),
            Err(HaltReason::Unreadable { offset: 8, .. })
        ));
        assert_eq!(hint.asked_offset, 8);
    }
}
