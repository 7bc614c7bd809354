//! What is stored about each partition of a flow, as somebody reads it who copies nothing.
//!
//! Two topics of the target say where copying stands: kmirror's state topic, whose newest anchor
//! is at most `kmirror.anchor.interval.ms` old, and MirrorMaker 2's offsets topic. Here both are
//! only read and told; nothing is proven, and nothing is decided that copying depends on.

use std::collections::BTreeMap;

use kmirror_protocol::wire::Uuid;

use super::{
    source_offsets::{self, StoredRecord},
    state::{Anchor, Entry, Gap, Owner, Place, Reset, StateKey, Unusable, decode},
};

/// What the state topic says of one partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stored {
    /// Who wrote it last.
    pub owner: Option<Owner>,
    /// The anchor written last, of those that no reset has made void.
    pub newest: Option<Anchor>,
    /// The reset that counts.
    pub reset: Option<Reset>,
    /// Source offsets that are not on the target, by the first of each gap.
    pub gaps: Vec<Gap>,
    /// Whether two processes have written as owners of one generation, by the order of the log.
    pub is_contested: bool,
}

impl Stored {
    /// The reset with which the next process begins; `None` when one has begun there, or none was
    /// made.
    #[must_use]
    pub const fn pending_reset(&self) -> Option<&Reset> {
        match (&self.reset, &self.newest) {
            (Some(reset), None) => Some(reset),
            _ => None,
        }
    }

    /// The next source offset to copy.
    #[must_use]
    pub const fn next_offset(&self) -> Option<i64> {
        match (self.pending_reset(), &self.newest) {
            (Some(reset), _) => Some(reset.source_offset),
            (None, Some(anchor)) => Some(anchor.source_offset),
            (None, None) => None,
        }
    }

    /// The generation of the last owner; 0 before the first.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.owner.as_ref().map_or(0, |owner| owner.generation)
    }

    /// How many offsets will never be on the target. A gap of all that a former topic had is not
    /// counted: nobody knows how much that was.
    #[must_use]
    pub fn missing_offsets(&self) -> u64 {
        let known = self.gaps.iter().filter(|gap| gap.to_offset < i64::MAX);
        known
            .map(|gap| gap.to_offset.abs_diff(gap.from_offset))
            .sum()
    }
}

/// What is stored about the partitions of one flow.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    /// What the state topic says.
    pub by_place: BTreeMap<Place, Stored>,
    /// The next offset by MirrorMaker 2's topic, by source topic and partition.
    pub positions: BTreeMap<(String, i32), i64>,
    /// The format version of records that only a newer kmirror understands.
    pub newer: Option<u64>,
}

impl Ledger {
    /// Reads the records of both topics, each oldest first.
    #[must_use]
    pub fn of(source_alias: &str, state: &[StoredRecord], positions: &[StoredRecord]) -> Self {
        let mut ledger = Self {
            positions: source_offsets::decode_all(source_alias, positions),
            ..Self::default()
        };
        let mut image: BTreeMap<StateKey, Entry> = BTreeMap::new();
        for record in state {
            match decode(&record.key, record.value.as_deref()) {
                Ok((key, entry)) => ledger.take(&mut image, key, entry),
                Err(Unusable::Newer(version)) => ledger.newer = Some(version),
                Err(Unusable::Foreign) => {}
            }
        }
        for (key, entry) in image {
            ledger.by_place.entry(key.place).or_default().add(entry);
        }
        for stored in ledger.by_place.values_mut() {
            let reset = stored.reset.as_ref();
            let stands = |anchor: &Anchor| reset.is_none_or(|reset| !reset.voids(anchor));
            stored.newest = stored.newest.filter(stands);
        }
        ledger
    }

    /// A late record of a former owner says nothing, as for kmirror itself.
    fn take(&mut self, image: &mut BTreeMap<StateKey, Entry>, key: StateKey, entry: Option<Entry>) {
        let Some(entry) = entry else {
            image.remove(&key);
            return;
        };
        let known = image.get(&key);
        if known.is_some_and(|known| entry.age() < known.age()) {
            return;
        }
        if let (Entry::Owner(new), Some(Entry::Owner(known))) = (&entry, known)
            && new.contests(known)
        {
            let place = self.by_place.entry(key.place.clone()).or_default();
            place.is_contested = true;
        }
        image.insert(key, entry);
    }

    /// What the state topic says of a partition.
    #[must_use]
    pub fn stored(&self, place: &Place) -> Stored {
        self.by_place.get(place).cloned().unwrap_or_default()
    }

    /// The owner of a partition, if it is another process than `instance`, or is disputed.
    #[must_use]
    pub fn rival(&self, place: &Place, instance: Uuid) -> Option<Owner> {
        let stored = self.by_place.get(place)?;
        let owner = stored.owner.clone()?;
        (owner.instance != instance).then_some(owner)
    }
}

impl Stored {
    fn add(&mut self, entry: Entry) {
        match entry {
            Entry::Owner(owner) => self.owner = Some(owner),
            Entry::Anchor(anchor) => {
                let age = |anchor: &Anchor| (anchor.generation, anchor.counter);
                if self.newest.is_none_or(|known| age(&known) < age(&anchor)) {
                    self.newest = Some(anchor);
                }
            }
            Entry::Gap(gap) => self.gaps.push(gap),
            Entry::Reset(reset) => self.reset = Some(reset),
            Entry::Claim(_) | Entry::Map(_) => {}
        }
    }
}
