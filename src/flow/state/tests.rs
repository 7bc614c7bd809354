use super::*;
use crate::{
    flow::StateLogRecord,
    offsets::{
        exact_map::{ExactMap, MapVersion, Point, TopicIds},
        state::Lineage,
    },
};

const HERE: Uuid = Uuid([1; 16]);
const THERE: Uuid = Uuid([2; 16]);

fn at() -> Place {
    Place {
        topic: Arc::from("t"),
        partition: 0,
    }
}

fn owner(generation: u64, instance: Uuid) -> Entry {
    Entry::Owner(Owner {
        generation,
        instance,
        since_ms: 0,
    })
}

const fn claim(number: u32, producer_id: i64) -> Entry {
    Entry::Claim(Claim {
        number,
        producer_id,
    })
}

/// Takes entries as if they had been read at these offsets.
fn read(state: &mut State, entries: &[(i64, Entry)]) {
    read_at(crate::flow::tests::epoch(), state, entries);
}

fn read_at(now: Instant, state: &mut State, entries: &[(i64, Entry)]) {
    let records = entries.iter().map(|(offset, entry)| {
        let stored = encode(&StateRecord {
            place: at(),
            entry: entry.clone(),
        });
        StateLogRecord {
            partition: 0,
            offset: *offset,
            key: stored.key,
            value: stored.value,
        }
    });
    let next = entries.last().map_or(0, |(offset, _)| offset + 1);
    let read = StateRead {
        records: records.collect(),
        next_offsets: BTreeMap::from([(0, next)]),
    };
    let unusable = state.take(now, read);
    assert_eq!(unusable, []);
}

#[test]
fn of_racing_claims_the_first_in_the_log_counts_and_of_later_numbers_the_newest() {
    let cases = [
        ("alone", vec![(0, claim(0, 11))], 11),
        ("racing", vec![(3, claim(0, 12)), (4, claim(0, 11))], 12),
        ("renewed", vec![(0, claim(0, 11)), (1, claim(1, 13))], 13),
        (
            "the first is written again, late",
            vec![(0, claim(0, 12)), (1, claim(0, 11)), (2, claim(0, 12))],
            12,
        ),
    ];
    for (case, entries, expected) in cases {
        let mut state = State::new(HERE, 100);
        read(&mut state, &entries);
        let claim = state.claim(&at()).unwrap();
        assert_eq!(claim.producer_id, expected, "{case}");
    }
}

#[test]
fn the_owner_is_the_highest_generation_and_of_equal_ones_the_last() {
    let cases = [
        ("alone", vec![(0, owner(1, HERE))], HERE),
        (
            "taken over",
            vec![(0, owner(1, HERE)), (1, owner(2, THERE))],
            THERE,
        ),
        (
            "racing",
            vec![(0, owner(1, HERE)), (1, owner(1, THERE))],
            THERE,
        ),
        (
            "a late write of a former owner",
            vec![(0, owner(2, THERE)), (1, owner(1, HERE))],
            THERE,
        ),
    ];
    for (case, entries, expected) in cases {
        let mut state = State::new(HERE, 100);
        read(&mut state, &entries);
        assert_eq!(state.owner(&at()).unwrap().instance, expected, "{case}");
    }
}

#[test]
fn a_partition_is_abandoned_when_its_present_owner_is_silent() {
    let third = Uuid([3; 16]);
    let silence = Duration::from_secs(30);
    let start = crate::flow::tests::epoch();
    let mut state = State::new(HERE, 100);
    let is_abandoned =
        |state: &State, after: Duration| state.is_abandoned(start + after, &at(), THERE, silence);
    // Nothing is known but who has taken it.
    assert!(is_abandoned(&state, Duration::ZERO));
    read_at(start, &mut state, &[(0, owner(2, THERE))]);
    assert!(!is_abandoned(&state, silence / 2));
    assert!(is_abandoned(&state, silence));
    // Another has followed, while the one that took it is gone.
    read_at(start + silence / 2, &mut state, &[(1, owner(3, third))]);
    assert!(!is_abandoned(&state, silence));
    assert!(is_abandoned(&state, silence * 2));
    // It says that it lives each time that it writes its record again.
    read_at(start + silence, &mut state, &[(2, owner(3, third))]);
    assert!(!is_abandoned(&state, silence * 3 / 2));
}

#[test]
fn a_write_is_settled_once_everything_up_to_it_has_been_read() {
    let mut state = State::new(HERE, 100);
    let ticket = state.put(&at(), owner(1, HERE));
    begin_write(&mut state);
    let later = state.put(&at(), owner(1, HERE));
    assert!(later > ticket && !state.has_settled(ticket));
    let acknowledged = crate::flow::tests::epoch();
    state.unsettled.push_back(Unsettled {
        number: 0,
        last_offsets: BTreeMap::from([(0, 5)]),
        written: Pending::new(),
        acknowledged,
    });
    let within = acknowledged + limits::STATE_SETTLES_WITHIN;
    assert!(!state.has_lost_its_end(within));
    assert!(state.has_lost_its_end(within + Duration::from_millis(1)));
    read(&mut state, &[(4, owner(1, THERE))]);
    assert!(
        !state.has_settled(ticket),
        "its own place has not been read"
    );
    read(&mut state, &[(5, owner(1, HERE))]);
    assert!(state.has_settled(ticket) && !state.has_settled(later));
}

/// Begins the write that is due; its keys.
fn begin_write(state: &mut State) -> Vec<StateKey> {
    state.writing = state.next_pending();
    state.writing.keys().cloned().collect()
}

fn end_write(state: &mut State) {
    state.writing.clear();
    state.release(Ticket(state.next_write - 1));
}

#[test]
fn what_waits_behind_a_write_goes_out_once_that_is_acknowledged() {
    let mut state = State::new(HERE, 100);
    let chunk = |chunk| ChunkKey {
        version: MapVersion::default(),
        chunk,
    };
    let gone = |number| StateKey {
        place: at(),
        kind: Kind::Map(chunk(number)),
    };
    let ahead = owner(1, HERE).key(&at());
    state.put(&at(), owner(1, HERE));
    let anchor = anchor();
    state.delete_map(&at(), BTreeSet::from([chunk(3)]), &anchor);
    assert_eq!(begin_write(&mut state), std::slice::from_ref(&ahead));
    // It fails, and is made again with what came later.
    let failed = std::mem::take(&mut state.writing);
    state.enqueue_again(failed);
    state.delete_map(&at(), BTreeSet::from([chunk(4)]), &anchor);
    assert_eq!(begin_write(&mut state), [ahead]);
    assert!(!state.is_settled());
    end_write(&mut state);
    assert_eq!(begin_write(&mut state), [gone(3), gone(4)]);
    end_write(&mut state);
    assert!(state.is_settled());
    // Nothing is under way: it goes out at once.
    state.delete_map(&at(), BTreeSet::from([chunk(5)]), &anchor);
    assert_eq!(begin_write(&mut state), [gone(5)]);
    end_write(&mut state);
    // A former owner has come further.
    let ahead = Anchor {
        generation: 0,
        source_offset: 9,
        ..anchor
    };
    read(&mut state, &[(0, Entry::Anchor(ahead))]);
    state.delete_map(&at(), BTreeSet::from([chunk(6)]), &anchor);
    assert!(state.is_settled());
}

#[test]
fn what_is_newer_is_not_hidden_by_what_comes_late_nor_replaced_when_that_is_mended() {
    let anchor = |counter| Anchor {
        counter,
        ..anchor()
    };
    let late = [
        (0, owner(1, HERE)),
        (1, Entry::Anchor(anchor(3))),
        (2, Entry::Anchor(anchor(1))),
    ];
    let key = Entry::Anchor(anchor(1)).key(&at());
    let waits = |writes: &VecDeque<Pending>| {
        let mut entries = writes.iter().filter_map(|write| write.get(&key));
        match entries.next() {
            Some(Some(Entry::Anchor(anchor))) => Some(anchor.counter),
            _ => None,
        }
    };
    let mut state = State::new(HERE, 100);
    read(&mut state, &late);
    assert_eq!(state.anchors(&at()).next().unwrap().counter, 3);
    assert_eq!(waits(&state.pending), Some(3));
    let newer = Entry::Anchor(anchor(5));
    let mut state = State::new(HERE, 100);
    state.put(&at(), newer.clone());
    read(&mut state, &late);
    assert_eq!(waits(&state.pending), Some(5), "it is due anyway");
    let mut state = State::new(HERE, 100);
    state.put(&at(), newer);
    begin_write(&mut state);
    read(&mut state, &late);
    assert_eq!(waits(&state.pending), Some(5), "it may be there before");
    state.pending.clear();
    state.unsettled.push_back(Unsettled {
        number: 0,
        last_offsets: BTreeMap::from([(0, 5)]),
        written: std::mem::take(&mut state.writing),
        acknowledged: crate::flow::tests::epoch(),
    });
    read(&mut state, &late[2..]);
    assert_eq!(waits(&state.pending), None, "it is there behind");
    let behind = [(5, Entry::Anchor(anchor(5))), (6, Entry::Anchor(anchor(1)))];
    read(&mut state, &behind);
    assert_eq!(
        waits(&state.pending),
        Some(5),
        "it was there before, read at once with it"
    );
}

#[test]
fn an_anchor_and_the_map_below_it_are_written_at_once_and_in_this_order() {
    let point = |offset| Point {
        source_offset: offset,
        target_offset: offset,
    };
    let mut map = ExactMap::new(TopicIds::default(), 1, point(0));
    map.acknowledged(0, 5, 0, 5);
    let mut state = State::new(HERE, 100);
    let ticket = state.put_anchor(&at(), anchor(), map.changes());
    let written = begin_write(&mut state);
    let kinds: Vec<Kind> = written.into_iter().map(|key| key.kind).collect();
    assert!(
        matches!(kinds[..], [Kind::Map(_), Kind::Anchor { .. }]),
        "{kinds:?}"
    );
    assert_eq!(ticket, Ticket(0));
}

fn anchor() -> Anchor {
    Anchor {
        lineage: Lineage {
            producer_id: 7,
            epoch: 0,
        },
        source_offset: 5,
        target_offset: 5,
        ..Anchor::BLANK
    }
}

#[test]
fn a_topic_that_took_the_place_of_another_knows_nothing() {
    let mut state = State::new(HERE, 100);
    let (first, second) = (Uuid([5; 16]), Uuid([6; 16]));
    assert_eq!(state.topic_seen(Some((first, 1))), TopicSight::Same);
    read(&mut state, &[(0, claim(0, 11))]);
    assert_eq!(state.topic_seen(None), TopicSight::Same);
    assert_eq!(state.topic_seen(Some((first, 1))), TopicSight::Same);
    assert!(state.claim(&at()).is_some());
    assert_eq!(state.topic_seen(Some((second, 1))), TopicSight::Replaced);
    assert!(state.claim(&at()).is_none());
}

#[test]
fn an_older_generation_takes_nothing_over() {
    let mut state = State::new(HERE, 100);
    read(&mut state, &[(0, owner(3, THERE))]);
    let successor = |generation| state.successor(&at(), generation).is_some();
    assert!(successor(2) && successor(3) && !successor(4));
    let other = State::new(THERE, 100);
    assert!(other.successor(&at(), 0).is_none());
}

#[test]
fn an_anchor_of_a_former_owner_does_not_hide_the_lineage_of_the_present_one() {
    let anchor = |generation, epoch| {
        Entry::Anchor(Anchor {
            counter: 2,
            generation,
            lineage: Lineage {
                producer_id: 7,
                epoch,
            },
            ..Anchor::BLANK
        })
    };
    let cases = [("owned here", HERE, 1), ("owned elsewhere", THERE, 0)];
    for (case, instance, written_again) in cases {
        let mut state = State::new(HERE, 100);
        let late = [
            (0, owner(2, instance)),
            (1, anchor(2, 1)),
            (2, anchor(1, 0)),
        ];
        read(&mut state, &late);
        let epochs: Vec<i16> = state.anchors(&at()).map(|it| it.lineage.epoch).collect();
        assert_eq!(epochs, [1], "{case}");
        assert_eq!(state.pending.len(), written_again, "{case}");
    }
}

/// A write takes so many records and no more; what is to be said of a place goes out together, and
/// what has failed goes out before the rest.
#[test]
fn writes_are_bounded_and_a_place_is_never_split() {
    let place = |partition| Place {
        topic: "t".into(),
        partition,
    };
    let key = |partition| owner(1, HERE).key(&place(partition));
    let mut state = State::new(HERE, 2);
    let tickets: Vec<Ticket> = (0..5)
        .map(|it| state.put(&place(it), owner(1, HERE)))
        .collect();
    let numbers = [0, 0, 1, 1, 2].map(Ticket);
    assert_eq!(tickets, numbers);
    // It waits already: its anchor goes with it, and counts as that write.
    assert_eq!(state.put(&place(1), Entry::Anchor(anchor())), Ticket(0));
    assert_eq!(begin_write(&mut state).len(), 3);
    // What is put now comes last, unless the write before fails.
    assert_eq!(state.put(&place(0), owner(2, HERE)), Ticket(2));
    let failed = std::mem::take(&mut state.writing);
    state.enqueue_again(failed);
    assert_eq!(begin_write(&mut state).len(), 3);
    let first = state.writing.get(&key(0)).cloned().flatten();
    assert_eq!(first, Some(owner(2, HERE)));
    end_write(&mut state);
    assert_eq!(begin_write(&mut state), [key(2), key(3)]);
    end_write(&mut state);
    assert_eq!(begin_write(&mut state), [key(4)]);
    end_write(&mut state);
    assert!(state.is_settled());
}

/// Who waits for a write that has lost all its records to an earlier one waits for that one.
#[test]
fn a_write_that_was_emptied_counts_as_made() {
    let place = |partition| Place {
        topic: "t".into(),
        partition,
    };
    let mut state = State::new(HERE, 1);
    state.put(&place(0), owner(1, HERE));
    begin_write(&mut state);
    state.put(&place(1), owner(1, HERE));
    let ticket = state.put(&place(0), owner(2, HERE));
    let failed = std::mem::take(&mut state.writing);
    state.enqueue_again(failed);
    for number in 0..2 {
        assert!(state.next_write <= ticket.0);
        assert_eq!(
            begin_write(&mut state),
            [owner(1, HERE).key(&place(number))]
        );
        end_write(&mut state);
    }
    assert!(state.next_write > ticket.0, "nothing is left of it");
    assert!(state.pending.is_empty());
}
