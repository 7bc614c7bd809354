//! One replica of a partition, and how it follows the leader.
//!
//! Replication takes no time here unless it is held back: a follower has a batch as soon as its
//! leader has it.

use super::log::Log;

/// The part of a partition that one broker holds.
#[derive(Debug)]
pub(super) struct Replica {
    pub(super) broker_id: i32,
    pub(super) log: Log,
    /// Whether its broker runs.
    pub(super) is_online: bool,
    /// Whether it fetches nothing from its leader, by command.
    pub(super) is_held_back: bool,
    /// Up to where the current leader knows its log to be the leader's own; -1 before it has
    /// fetched from that leader.
    pub(super) acknowledged: i64,
}

impl Replica {
    /// An empty one.
    pub(super) fn new(broker_id: i32, is_online: bool) -> Self {
        Self {
            broker_id,
            log: Log::default(),
            is_online,
            is_held_back: false,
            acknowledged: -1,
        }
    }

    /// Fetches all that the leader has, unless its broker is down or it is held back.
    pub(super) fn follow(&mut self, leader: &Log) {
        if !self.is_online || self.is_held_back {
            return;
        }
        let log = &mut self.log;
        truncate_to_common(log, leader);
        if log.end_offset() < leader.start_offset() {
            log.restart_at(leader.start_offset());
        }
        log.copy_from(leader);
        self.acknowledged = log.end_offset();
    }

    /// Learns from its leader's answers what is committed and where the log begins.
    pub(super) fn learn(&mut self, leader: &Log) {
        if self.is_online && !self.is_held_back {
            self.log.raise_high_watermark(leader.high_watermark());
            // Beyond its own high watermark a follower deletes nothing.
            let start_offset = leader.start_offset().min(self.log.high_watermark());
            let deleted = self.log.delete_before(start_offset);
            debug_assert!(deleted.is_ok());
        }
    }
}

/// Cuts off what a follower has and its leader has not, epoch by epoch.
///
/// Source: `AbstractFetcherThread.getOffsetTruncationState` (KIP-279, KIP-595).
fn truncate_to_common(log: &mut Log, leader: &Log) {
    while let Some(latest) = log.epochs.latest()
        && let Some((epoch, end_offset)) = leader.epochs.end_of(latest, leader.end_offset())
        && (epoch < latest || end_offset < log.end_offset())
    {
        let before = (log.end_offset(), latest);
        match log.epochs.end_of(epoch, log.end_offset()) {
            // An epoch below the one that the leader named: it is asked about that one next.
            Some((known, own_end)) if known != epoch => log.truncate_to(own_end),
            Some((_, own_end)) => log.truncate_to(own_end.min(end_offset)),
            None => log.truncate_to(end_offset),
        }
        if Some(before) == log.epochs.latest().map(|latest| (log.end_offset(), latest)) {
            break;
        }
    }
    if log.end_offset() > leader.end_offset() {
        log.truncate_to(leader.end_offset());
    }
}
