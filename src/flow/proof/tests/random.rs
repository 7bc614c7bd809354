//! Random logs, written as copying with crashes writes them, against the oracle.

use kmirror_protocol::records::{BatchProducer, Compression, ControlType, sequence_after};

use super::{
    logs::{By, LINEAGE, Seen, SourceLog, Style, TargetLog, Written},
    oracle, prove,
};
use crate::flow::{
    Counters, intake,
    intake::Prepared,
    proof::{ProofStart, Verdict},
};

/// How many seeds an ordinary run takes. `KMIRROR_SEEDS` asks for more, `KMIRROR_SEED` for one.
const SEEDS: u64 = 3_000;

#[test]
fn the_verdict_is_that_of_the_oracle() {
    let setting = |name| {
        std::env::var(name)
            .ok()
            .map(|text| text.parse::<u64>().unwrap())
    };
    let seeds = match setting("KMIRROR_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..setting("KMIRROR_SEEDS").unwrap_or(SEEDS),
    };
    let mut reached = Reached::default();
    for seed in seeds.clone() {
        let outcome = std::panic::catch_unwind(|| run(seed));
        let Ok(of_seed) = outcome else {
            panic!("KMIRROR_SEED={seed} fails");
        };
        reached.add(&of_seed);
    }
    if seeds.end - seeds.start >= SEEDS {
        reached.check();
    }
}

/// What the runs have been through: a generator that never gets somewhere proves nothing there.
#[derive(Debug, Default)]
struct Reached {
    continued: u32,
    broken: u32,
    continued_after_lead_in: u32,
    continued_after_counting: u32,
    partly_proven: u32,
    faultless: u32,
    undecided: u32,
}

impl Reached {
    fn add(&mut self, other: &Self) {
        self.continued += other.continued;
        self.broken += other.broken;
        self.continued_after_lead_in += other.continued_after_lead_in;
        self.continued_after_counting += other.continued_after_counting;
        self.partly_proven += other.partly_proven;
        self.faultless += other.faultless;
        self.undecided += other.undecided;
    }

    fn check(&self) {
        let all = [
            self.continued,
            self.broken,
            self.continued_after_lead_in,
            self.continued_after_counting,
            self.partly_proven,
            self.faultless,
            self.undecided,
        ];
        assert!(all.iter().all(|count| *count >= 50), "{self:?}");
    }
}

fn run(seed: u64) -> Reached {
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut case = Case::new(&mut rng);
    case.copy(&mut rng);
    let truth = case.cut(&mut rng);
    let Case {
        source,
        target,
        start,
        ..
    } = &case;
    let verdict = prove(*start, source, target, &mut rng).unwrap();

    let live: Vec<_> = source
        .live
        .iter()
        .filter(|(offset, _)| (start.source_offset..source.end()).contains(offset))
        .collect();
    let records: Vec<Seen> = live.iter().map(|(_, record)| record.clone()).collect();
    let window = target.window(start.target_offset, start.target_end);
    let epochs = live
        .iter()
        .map(|(offset, _)| source.epoch_below(offset + 1));
    let epochs: Vec<i32> = epochs.collect();
    let expected = oracle::expected(start, &records, &epochs, &window);
    let position = verdict.source_offset;
    let found = oracle::Expected {
        below_position: live.iter().filter(|(offset, _)| *offset < position).count(),
        continues: verdict.continues,
        proven: usize::try_from(verdict.proven_records).unwrap(),
        unmatched_own: usize::try_from(verdict.unmatched_own_records).unwrap(),
        lead_in: usize::try_from(verdict.lead_in_records).unwrap(),
        is_undecided: verdict.undecided.is_some(),
    };
    assert_eq!(found, expected);
    check_ends(&case, &verdict);
    if verdict.continues {
        check_sequence(start, &window, &verdict);
    }
    if let Some(copied_end) = truth {
        assert!(verdict.continues);
        let next_live = live.iter().find(|(offset, _)| *offset >= position);
        let next_copied = live.iter().find(|(offset, _)| *offset >= copied_end);
        assert_eq!(next_live, next_copied);
    }
    Reached {
        continued: verdict.continues.into(),
        broken: (!verdict.continues).into(),
        continued_after_lead_in: (verdict.continues && verdict.lead_in_records > 0).into(),
        continued_after_counting: (verdict.continues
            && start.is_target_cut
            && expected.below_position > expected.proven)
            .into(),
        partly_proven: (expected.proven > 0 && expected.proven < records.len()).into(),
        faultless: truth.is_some().into(),
        undecided: verdict.undecided.is_some().into(),
    }
}

/// The position lies where it can, its epoch is that of the log there, and so is the tail.
fn check_ends(case: &Case, verdict: &Verdict) {
    let Case {
        source,
        target,
        start,
        ..
    } = case;
    let position = verdict.source_offset;
    let end = source.end().max(start.source_offset);
    assert!((start.source_offset..=end).contains(&position));
    if position > start.source_offset {
        assert_eq!(verdict.source_epoch, source.epoch_below(position));
    }
    let tail = target
        .header_ending_at(start.target_end)
        .filter(|_| start.target_offset < start.target_end);
    assert_eq!(
        verdict.tail.map(|tail| (tail.sequence, tail.leader_epoch)),
        tail.map(|header| (header.last_sequence(), header.partition_leader_epoch))
    );
}

/// The next sequence number follows the last that is known of.
fn check_sequence(start: &ProofStart, window: &[Written], verdict: &Verdict) {
    let last = window.iter().rev().find_map(|written| match written.by {
        By::Own(sequence) => Some(sequence),
        _ => None,
    });
    let next = match last.or(start.skip_to_sequence) {
        Some(last) => sequence_after(last, 1),
        None => start.next_sequence.unwrap(),
    };
    assert_eq!(verdict.next_sequence, next);
}

struct Case {
    source: SourceLog,
    target: TargetLog,
    start: ProofStart,
    /// Whether the lineage did nothing but copy, and no one wrote what the source holds.
    is_faultless: bool,
    /// Whether records may be equal.
    has_twins: bool,
    /// How many records have been made, for their contents.
    made: usize,
    /// The target offset before each step of copying, with the number of live records then copied.
    steps: Vec<(i64, usize)>,
}

impl Case {
    fn new(rng: &mut fastrand::Rng) -> Self {
        let mut case = Self {
            source: SourceLog::default(),
            target: TargetLog::default(),
            start: ProofStart {
                source_offset: 0,
                target_offset: 0,
                target_end: 0,
                lineage: LINEAGE,
                next_sequence: Some([0, 5, i32::MAX - 2][rng.usize(0..3)]),
                is_source_cut: false,
                is_target_cut: false,
                skip_to_sequence: None,
                deleted_max: 0,
                counted_epoch: 0,
            },
            is_faultless: rng.bool(),
            has_twins: rng.bool(),
            made: 0,
            steps: Vec::new(),
        };
        case.source.is_read_committed = rng.bool();
        for _ in 0..rng.usize(0..14) {
            case.write_source(rng);
        }
        let boundaries = case.source.boundaries();
        if rng.u8(0..4) == 0 && !boundaries.is_empty() {
            case.source.readable_end = Some(boundaries[rng.usize(0..boundaries.len())]);
        }
        for _ in 0..rng.usize(0..3) {
            let records = case.records(rng, 3);
            case.target
                .write_other(style(rng), &records, BatchProducer::NONE);
        }
        case.start.source_offset = rng.i64(0..=case.source.end());
        if rng.bool() {
            case.start.source_offset /= 4;
        }
        case.start.target_offset = case.target.end();
        case
    }

    fn record(&mut self, rng: &mut fastrand::Rng) -> Seen {
        self.made += 1;
        let number = if self.has_twins {
            rng.usize(0..2)
        } else {
            self.made
        };
        let mut record = Seen::numbered(number);
        record.timestamp += i64::from(rng.u8(0..2));
        if rng.bool() {
            record.key = [None, Some(Vec::new()), Some(b"k".to_vec())][rng.usize(0..3)].clone();
        }
        if rng.u8(0..4) == 0 {
            record.headers = vec![(b"h".to_vec(), rng.bool().then(Vec::new)); rng.usize(0..3)];
        }
        record
    }

    fn records(&mut self, rng: &mut fastrand::Rng, count_max: usize) -> Vec<Seen> {
        (0..rng.usize(1..=count_max))
            .map(|_| self.record(rng))
            .collect()
    }

    fn write_source(&mut self, rng: &mut fastrand::Rng) {
        self.source.epoch += i32::from(rng.u8(0..4) == 0);
        let mut records = self.records(rng, 5);
        match rng.u8(0..10) {
            0 => self.source.mark(1, ControlType::Commit),
            1 => self.source.transact(&records, rng.bool()),
            2 | 3 => {
                if rng.u8(0..4) == 0 {
                    records.clear();
                }
                let mut delta = 0;
                let mut with_holes = Vec::new();
                for record in records {
                    delta += rng.i32(0..3);
                    with_holes.push((delta, record));
                    delta += 1;
                }
                let offset_count = delta.max(1) + rng.i32(0..3);
                self.source.write(style(rng), &with_holes, offset_count);
            }
            4 => {
                let append_time = Some(rng.i64(5_000..5_003));
                let style = Style {
                    append_time,
                    ..style(rng)
                };
                self.source.append(style, &records);
            }
            _ => self.source.append(style(rng), &records),
        }
    }

    /// Writes the window: a lineage that copies, and what else may happen.
    fn copy(&mut self, rng: &mut fastrand::Rng) {
        let from = self.start.source_offset;
        let end = self.source.end();
        let live: Vec<Seen> = self
            .source
            .live
            .iter()
            .filter(|(offset, _)| (from..end).contains(offset))
            .map(|(_, record)| record.clone())
            .collect();
        let everything = self.source.fetch(from, usize::MAX);
        let prepared = intake::take(from, everything, &mut Counters::default()).batches;
        let counts = prepared
            .iter()
            .map(|batch| usize::try_from(batch.header.record_count).unwrap());
        assert_eq!(counts.sum::<usize>(), live.len());
        let append_time = rng.bool().then_some(9_000);
        let (mut next, mut sequence) = (0, self.start.next_sequence.unwrap());
        for _ in 0..rng.usize(0..12) {
            self.target.epoch += i32::from(rng.u8(0..6) == 0);
            self.steps.push((self.target.end(), next));
            if rng.u8(0..4) > 0 {
                self.copy_some(
                    rng,
                    &live,
                    &prepared,
                    (&mut next, &mut sequence),
                    append_time,
                );
            } else {
                self.disturb(rng, &live, (&mut next, &mut sequence));
            }
        }
        self.steps.push((self.target.end(), next));
        if rng.u8(0..4) == 0 {
            let kept = rng.usize(0..self.steps.len());
            self.steps.truncate(kept + 1);
            self.target.truncate(self.steps[kept].0);
        }
        self.start.target_end = self.target.end();
        for _ in 0..rng.usize(0..2) {
            let late = self.records(rng, 3);
            self.target.write_own(style(rng), &late, sequence);
        }
    }

    /// Copies the next records: the source's batch as it is, or as many records in another shape.
    fn copy_some(
        &mut self,
        rng: &mut fastrand::Rng,
        live: &[Seen],
        prepared: &[Prepared],
        (next, sequence): (&mut usize, &mut i32),
        append_time: Option<i64>,
    ) {
        let mut first = 0;
        let whole = prepared.iter().find(|batch| {
            let is_next = first == *next;
            first += usize::try_from(batch.header.record_count).unwrap();
            is_next
        });
        let left = live.len() - *next;
        let count = match whole {
            Some(batch) if rng.u8(0..3) > 0 => {
                let count = usize::try_from(batch.header.record_count).unwrap();
                let records = &live[*next..*next + count];
                let parts = (batch.header, batch.payload.clone());
                self.target.pass_own(parts, records, *sequence, append_time);
                count
            }
            _ if left > 0 => {
                let count = rng.usize(1..=left.min(7));
                let style = Style {
                    append_time,
                    ..style(rng)
                };
                let records = &live[*next..*next + count];
                self.target.write_own(style, records, *sequence);
                count
            }
            _ => 0,
        };
        *next += count;
        *sequence = sequence_after(*sequence, i32::try_from(count).unwrap());
    }

    fn disturb(
        &mut self,
        rng: &mut fastrand::Rng,
        live: &[Seen],
        (next, sequence): (&mut usize, &mut i32),
    ) {
        let other = BatchProducer {
            producer_id: [7, 8][rng.usize(0..2)],
            producer_epoch: 2,
            base_sequence: 0,
        };
        let count = rng.usize(0..3);
        let ahead = live.get(*next..(*next + count).min(live.len()));
        let ahead = ahead.filter(|ahead| !ahead.is_empty());
        let fault = if self.is_faultless {
            rng.u8(0..3)
        } else {
            rng.u8(0..16)
        };
        match fault {
            0 => self.target.mark(899, ControlType::Commit),
            1 | 10.. => self.transact(rng, ahead, next),
            2 => {
                // What no source holds.
                let records = vec![Seen::numbered(1_000_000); rng.usize(1..3)];
                self.target.write_other(style(rng), &records, other);
            }
            3 | 4 => {
                let records = ahead.map_or_else(|| self.records(rng, 2), <[_]>::to_vec);
                self.target.write_other(style(rng), &records, other);
                if rng.bool() {
                    *next += ahead.map_or(0, <[_]>::len);
                }
            }
            5 => *next = rng.usize(0..=*next),
            6 => *next = rng.usize(*next..=live.len()),
            7 => *sequence = sequence_after(*sequence, rng.i32(1..4)),
            8 => {
                self.target.empty_own(2, *sequence);
                *sequence = sequence_after(*sequence, 2);
            }
            9 => {
                let records = self.records(rng, 2);
                let count = i32::try_from(records.len()).unwrap();
                self.target.write_own(style(rng), &records, *sequence);
                *sequence = sequence_after(*sequence, count);
            }
        }
    }

    /// Someone writes a transaction, perhaps with the records that come next; a faultless lineage
    /// copies those only if nobody else has.
    fn transact(&mut self, rng: &mut fastrand::Rng, ahead: Option<&[Seen]>, next: &mut usize) {
        let is_committed = [Some(true), Some(false), None][rng.usize(0..3)];
        let is_known_void =
            is_committed == Some(false) && self.target.stable_end() == self.target.end();
        let others = vec![Seen::numbered(1_000_000); 2];
        match ahead {
            _ if self.is_faultless && !is_known_void => self.target.transact(&others, is_committed),
            Some(ahead) => {
                self.target.transact(ahead, is_committed);
                if is_committed == Some(true) && rng.bool() {
                    *next += ahead.len();
                }
            }
            None => self.target.transact(&others, is_committed),
        }
    }

    /// Deletes the beginning of a log, or forgets the lineage. Answers the source offset below
    /// which all is copied and proven, when the lineage must be found to go on.
    fn cut(&mut self, rng: &mut fastrand::Rng) -> Option<i64> {
        let (from, end) = (self.start.source_offset, self.source.end());
        let copied = self.steps.last().unwrap().1;
        let live: Vec<i64> = self.source.live.iter().map(|(offset, _)| *offset).collect();
        let live: Vec<i64> = live
            .into_iter()
            .filter(|offset| (from..end).contains(offset))
            .collect();
        let mut truth = self
            .is_faultless
            .then(|| live.get(copied).copied().unwrap_or(end));
        let last_own = |target: &TargetLog, from: i64, to: i64| {
            let mut window = target.written.iter().rev();
            window.find_map(|written| match written.by {
                By::Own(sequence) if (from..to).contains(&written.offset) => Some(sequence),
                _ => None,
            })
        };
        let choice = rng.u8(0..8);
        if choice <= 1 {
            let target_end = self.start.target_end;
            self.start.skip_to_sequence =
                last_own(&self.target, self.start.target_offset, target_end)
                    .filter(|_| rng.u8(0..4) > 0);
            let anchored = self.start.target_offset;
            let boundaries = self.target.boundaries(anchored);
            let boundaries: Vec<_> = boundaries
                .into_iter()
                .filter(|offset| *offset <= target_end)
                .collect();
            if let Some(offset) = rng.choice(boundaries) {
                // DeleteRecords may cut within a batch.
                let before = rng.i64(0..3) * i64::from(rng.bool());
                self.start.target_offset = (offset - before).max(anchored);
            }
            self.start.deleted_max = self.start.target_offset.abs_diff(anchored);
            self.start.is_target_cut = true;
            let epochs = live[..copied].iter();
            let mut epochs = epochs.map(|offset| self.source.epoch_below(offset + 1));
            self.start.counted_epoch = epochs.next().unwrap_or(0);
            truth = truth.filter(|_| epochs.all(|epoch| epoch == self.start.counted_epoch));
            let is_seen = last_own(&self.target, self.start.target_offset, target_end).is_some();
            let is_known = self.start.skip_to_sequence.is_some();
            truth = truth.filter(|_| is_seen || is_known);
        }
        if choice == 1 || choice == 2 || choice == 3 {
            let cut = rng.usize(0..=live.len());
            let cut = if rng.bool() { cut.min(copied) } else { cut };
            self.start.source_offset = live.get(cut).copied().unwrap_or(end);
            self.start.is_source_cut = true;
            truth = truth.filter(|_| choice != 1 && cut < copied && !self.has_twins);
        }
        if choice == 4 {
            self.start.next_sequence = None;
            truth = None;
        }
        truth
    }
}

fn style(rng: &mut fastrand::Rng) -> Style {
    Style {
        codec: [
            Compression::None,
            Compression::None,
            Compression::Gzip,
            Compression::Snappy,
            Compression::Lz4,
            Compression::Zstd,
        ][rng.usize(0..6)],
        base_timestamp: rng.bool().then_some(990),
        append_time: None,
    }
}
