//! The map of source to target offsets through a recovery: what was stored or known of it, what the
//! proof finds, and where copying goes on.

use super::*;
use crate::{
    flow::proof::Proof,
    offsets::exact_map::{Changes, ExactMap, MapVersion, Point, Run, TopicIds},
};

/// The map that comes out of a recovery.
#[derive(Debug, Default)]
pub(super) struct Mapping {
    map: Option<ExactMap>,
    /// Up to where it is proven.
    proven: Point,
    /// Records may have been copied between the map's end and the first that the proof finds.
    is_open: bool,
    /// Some of the map may have been written to the state topic.
    is_stored: bool,
    /// The state was lost: generations have begun anew, and say nothing of what came after what.
    is_state_lost: bool,
}

impl Mapping {
    pub(super) fn new(is_state_lost: bool) -> Self {
        Self {
            is_state_lost,
            ..Self::default()
        }
    }

    /// The state has been lost.
    pub(super) const fn state_lost(&mut self) {
        self.is_state_lost = true;
    }

    /// Whether the state has been lost since the recovery began.
    pub(super) const fn is_state_lost(&self) -> bool {
        self.is_state_lost
    }

    /// Begins with what is known up to an anchor that is true; with nothing when it names no map.
    ///
    /// `is_open` says that records may have been copied from there on that no proof can find,
    /// because a log has deleted them or their counterparts.
    pub(super) fn begin(
        &mut self,
        around: &Surroundings<'_>,
        generation: u64,
        (anchor, at): (Option<&Anchor>, Point),
        is_open: bool,
    ) {
        let topics = TopicIds {
            source: around.source_topic_id,
            target: around.target_topic_id,
        };
        let since: Option<MapVersion> = anchor.map(Anchor::map_version);
        // What another process has proven since then contradicts what was known here, perhaps.
        let since = since.filter(|it| !self.is_state_lost || it.generation == generation);
        let stored = around.state.map_chunks(&around.place);
        let mut map = ExactMap::restore(topics, stored, since, generation, at);
        if let Some(kept) = around.map {
            if since.is_some() && !map.is_better_than(kept, at) {
                let restored = std::mem::replace(&mut map, kept.clone());
                if kept.version().generation != generation {
                    map.pass_to(restored);
                }
                map.reach(at);
            } else {
                map.supersede(kept);
            }
        }
        if let Some(former) = self.map.take().filter(|_| self.is_stored) {
            map.supersede(&former);
        }
        *self = Self {
            map: Some(map),
            proven: at,
            is_open,
            is_stored: false,
            is_state_lost: self.is_state_lost,
        };
    }

    /// Begins with what is known up to an anchor that is true, and behind which every offset has its
    /// record up to `end`, on both sides.
    pub(super) fn begin_dense(
        &mut self,
        around: &Surroundings<'_>,
        generation: u64,
        anchor: &Anchor,
        end: Point,
    ) {
        let at = Point {
            source_offset: anchor.source_offset,
            target_offset: anchor.target_offset,
        };
        self.begin(around, generation, (Some(anchor), at), false);
        self.add(&Run {
            source_first: at.source_offset,
            source_next: end.source_offset,
            target_first: at.target_offset,
            target_next: end.target_offset,
            count: end.source_offset.saturating_sub(at.source_offset),
        });
    }

    /// Adds a run that the proof has found.
    fn add(&mut self, run: &Run) {
        let Some(map) = &mut self.map else { return };
        if std::mem::take(&mut self.is_open) {
            map.reach(run.start());
            self.proven = run.start();
        }
        map.proven(self.proven, run);
        self.proven = run.end();
    }

    /// Adds what a proof has found since it was last asked.
    pub(super) fn take_from(&mut self, proof: &mut Proof) {
        for run in proof.take_runs() {
            self.add(&run);
        }
    }

    /// Ends the map where copying goes on; its version.
    pub(super) fn end(&mut self, at: Point, target_start: i64) -> MapVersion {
        let Some(map) = &mut self.map else {
            return MapVersion::default();
        };
        map.resume(self.proven);
        if !self.is_open {
            map.passed(at.source_offset);
        }
        map.resume(at);
        map.forget_below(target_start);
        map.version()
    }

    /// What is to be stored with an anchor at its end, and deleted behind that.
    pub(super) fn changes(&mut self) -> Changes {
        let Some(map) = &mut self.map else {
            return Changes::default();
        };
        self.is_stored = true;
        map.changes()
    }

    /// The map, for a partition that goes on.
    pub(super) fn take(&mut self) -> Option<ExactMap> {
        self.is_stored = false;
        self.map.take()
    }
}
