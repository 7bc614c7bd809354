//! The same questions answered by short quadratic code over lists of records.

use kmirror_protocol::records::sequence_after;

use super::logs::{By, Seen, Written};
use crate::flow::proof::ProofStart;

/// What a verdict must say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Expected {
    /// How many live source records from the start on lie below the position.
    pub(super) below_position: usize,
    pub(super) continues: bool,
    pub(super) proven: usize,
    pub(super) unmatched_own: usize,
    pub(super) lead_in: usize,
    /// Whether something was found that may yet be aborted.
    pub(super) is_undecided: bool,
}

fn is_copy(source: &Seen, written: &Written) -> bool {
    let Some(record) = &written.record else {
        return false;
    };
    let timestamp = if written.has_append_time {
        source.timestamp
    } else {
        record.timestamp
    };
    let as_seen = Seen {
        timestamp,
        ..record.clone()
    };
    written.by != By::Nobody && as_seen == *source
}

/// For each source record in order, the first place in the window after that of the one before.
fn places(source: &[Seen], window: &[Written]) -> Vec<usize> {
    let mut places: Vec<usize> = Vec::new();
    for record in source {
        let from = places.last().map_or(0, |place| place + 1);
        let found = (from..window.len()).find(|place| is_copy(record, &window[*place]));
        let Some(place) = found else { break };
        places.push(place);
    }
    places
}

fn sequence_of(written: &Written) -> Option<i32> {
    match written.by {
        By::Own(sequence) | By::OwnNothing(sequence) => Some(sequence),
        By::Other | By::Undecided | By::Nobody => None,
    }
}

/// Whether the lineage's records are under the numbers from `first` on, and each is at one of the
/// places, which are all its own.
fn is_run(window: &[Written], first: Option<i32>, places: &[usize], lead_in: usize) -> bool {
    let own: Vec<usize> = (0..window.len())
        .filter(|place| sequence_of(&window[*place]).is_some())
        .collect();
    let Some(first) = first else { return false };
    let in_sequence = (0..).zip(&own).all(|(count, place)| {
        matches!(window[*place].by, By::Own(sequence) if sequence == sequence_after(first, count))
    });
    in_sequence && own.get(lead_in..) == Some(places)
}

/// Answers for a window that starts where the point of agreement was.
fn anchored(start: &ProofStart, source: &[Seen], window: &[Written]) -> Expected {
    let places = places(source, window);
    let own_places: Vec<_> = (0..window.len())
        .filter(|place| matches!(window[*place].by, By::Own(_)))
        .collect();
    let first = places.first().copied().unwrap_or(window.len());
    let lead_in = match start.is_source_cut {
        true => own_places.iter().filter(|place| **place < first).count(),
        false => 0,
    };
    let matched_own = own_places.iter().filter(|place| places.contains(place));
    let knows = !start.is_source_cut || (!places.is_empty() && !start.is_target_cut);
    Expected {
        below_position: places.len(),
        continues: knows && is_run(window, start.next_sequence, &places, lead_in),
        proven: places.len(),
        unmatched_own: own_places.len() - matched_own.count() - lead_in,
        lead_in,
        is_undecided: places
            .iter()
            .any(|place| window[*place].by == By::Undecided),
    }
}

/// Answers for a window of which the target has deleted the beginning: counts, then compares.
fn counted(start: &ProofStart, source: &[Seen], epochs: &[i32], window: &[Written]) -> Expected {
    let nothing = Expected {
        unmatched_own: window
            .iter()
            .filter(|written| matches!(written.by, By::Own(_)))
            .count(),
        ..Expected::default()
    };
    let first_own = window
        .iter()
        .position(|written| sequence_of(written).is_some());
    let first_sequence = match first_own {
        Some(place) => sequence_of(&window[place]),
        None => start.skip_to_sequence.map(|last| sequence_after(last, 1)),
    };
    let (Some(from), Some(to)) = (start.next_sequence, first_sequence) else {
        return nothing;
    };
    let reachable = (0..=source.len()).find(|count| {
        let count = i32::try_from(*count).unwrap();
        sequence_after(from, count) == to
    });
    let is_passed = |count: &usize| {
        let is_carried = |epoch: &i32| *epoch == start.counted_epoch;
        *count as u64 <= start.deleted_max && epochs[..*count].iter().all(is_carried)
    };
    let Some(count) = reachable.filter(is_passed) else {
        return nothing;
    };
    // Without own records, what others have written since may go on where these went to.
    let window = &window[first_own.unwrap_or(0)..];
    let rest = ProofStart {
        next_sequence: Some(to),
        is_target_cut: false,
        ..*start
    };
    let found = anchored(&rest, &source[count..], window);
    match found.continues || first_own.is_none() {
        true => Expected {
            below_position: count + found.below_position,
            ..found
        },
        false => Expected {
            is_undecided: found.is_undecided,
            ..nothing
        },
    }
}

/// What the verdict must be; `source` is what is live and readable from the start on, with the
/// leader epoch of each record.
pub(super) fn expected(
    start: &ProofStart,
    source: &[Seen],
    epochs: &[i32],
    window: &[Written],
) -> Expected {
    let is_countable = start.next_sequence.is_some() && !start.is_source_cut;
    if start.is_target_cut && is_countable {
        counted(start, source, epochs, window)
    } else {
        let found = anchored(start, source, window);
        Expected {
            continues: found.continues && !start.is_target_cut,
            ..found
        }
    }
}
