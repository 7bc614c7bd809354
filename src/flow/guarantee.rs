//! The guarantee in force, where it is weaker than the one asked for, and what is done about it.
//!
//! A partition's guarantee follows from what its last proof found ([`Footing`]) and from whether
//! the target has taken a batch since. The flow counts its partitions by [`Weakness`], tells of
//! each kind once when it lasts and once when it is over, and asks a target that gave out no
//! producer ids again now and then, so that the full guarantee returns without a restart.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};

use kmirror_protocol::ErrorCode;

use super::{
    Action, Failure, Flow, Notice, PartitionId, RecoveryCause, limits, recovery::decide::NewBecause,
};

/// How sure it is, now, that each record is on the target once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Guarantee {
    /// Each record once.
    #[default]
    ExactlyOnce,
    /// Each record at least once, as the configuration asks.
    AtLeastOnce,
    /// Each record at least once, although once is asked for.
    Weaker(Weakness),
}

/// Why a record may come to the target twice although it is asked that it come once. None of these
/// loses a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Weakness {
    /// The target cannot tell which producers it remembers (DescribeProducers, KIP-664): one that
    /// it has forgotten is not noticed (B5).
    Unremembered,
    /// The lineage before could not go on, and the target has taken nothing of the new one yet:
    /// until then it takes late batches of the former one (B4, B13).
    Unfenced(NewBecause),
    /// The target gives out no producer ids: it takes a late batch as often as it comes (B13).
    NotIdempotent(Refusal),
}

/// Why a target gives out no producer id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Refusal {
    /// It does not know InitProducerId, or no version of it that is spoken here.
    NotOffered,
    /// It answers this. Brokers before 2.8 want IdempotentWrite on the cluster (KIP-679).
    Answered(ErrorCode),
}

impl Refusal {
    /// What a failure for good says of producer ids.
    #[must_use]
    pub const fn of(failure: &Failure) -> Self {
        match failure {
            Failure::Refused(ErrorCode::UNSUPPORTED_VERSION, _)
            | Failure::NoAnswer(_)
            | Failure::Unreached(_)
            | Failure::Unsupported(_)
            | Failure::Malformed(_) => Self::NotOffered,
            Failure::Refused(code, _) => Self::Answered(*code),
        }
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NotOffered => f.write_str("the target does not offer InitProducerId"),
            Self::Answered(code) => {
                write!(f, "the target answers {code} when asked for a producer id")
            }
        }
    }
}

impl Weakness {
    /// Its name as the label of a metric.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Unremembered => "describe_producers_missing",
            Self::Unfenced(_) => "lineage_unfenced",
            Self::NotIdempotent(_) => "target_without_idempotence",
        }
    }

    /// Whether kmirror writes without sequence numbers: forced at-least-once.
    #[must_use]
    pub const fn is_forced(self) -> bool {
        matches!(self, Self::NotIdempotent(_))
    }
}

impl std::fmt::Display for Weakness {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unremembered => f.write_str("the target does not offer DescribeProducers"),
            Self::Unfenced(because) => {
                write!(
                    f,
                    "a new lineage had to be opened ({because}) and is unused"
                )
            }
            Self::NotIdempotent(refusal) => write!(f, "target without idempotence: {refusal}"),
        }
    }
}

/// What a proof found that the guarantee rests on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Footing {
    /// Why the lineage has no producer id, if it has none.
    pub refusal: Option<Refusal>,
    /// Why the lineage was opened, if the proof opened it.
    pub opened: Option<NewBecause>,
    /// Whether the target cannot tell which producers it remembers.
    pub is_blind: bool,
}

impl Footing {
    /// The guarantee on this footing; `is_established` tells that the target has taken a batch of
    /// the lineage.
    #[must_use]
    pub const fn guarantee(self, is_established: bool) -> Guarantee {
        if let Some(refusal) = self.refusal {
            return Guarantee::Weaker(Weakness::NotIdempotent(refusal));
        }
        match self.opened {
            // Nothing was written before, so nothing can come late.
            None | Some(NewBecause::First) => {}
            Some(because) if !is_established => {
                return Guarantee::Weaker(Weakness::Unfenced(because));
            }
            Some(_) => {}
        }
        if self.is_blind {
            Guarantee::Weaker(Weakness::Unremembered)
        } else {
            Guarantee::ExactlyOnce
        }
    }
}

/// How many partitions have a weaker guarantee, and what has been said and asked because of it.
#[derive(Debug, Default)]
pub(super) struct Watch {
    /// Partitions by weakness, and since when there have been any.
    weak: BTreeMap<Weakness, (usize, Instant)>,
    told: BTreeSet<Weakness>,
    /// When the target is next asked for a producer id.
    ask_at: Option<Instant>,
    /// For which partition it has been asked.
    asked: Option<PartitionId>,
}

impl Watch {
    /// Moves one partition from one guarantee to another.
    pub(super) fn moved(&mut self, now: Instant, before: Guarantee, after: Guarantee) {
        if before == after {
            return;
        }
        if let Guarantee::Weaker(weakness) = before
            && let Some((count, _)) = self.weak.get_mut(&weakness)
        {
            *count -= 1;
            if *count == 0 {
                self.weak.remove(&weakness);
            }
        }
        if let Guarantee::Weaker(weakness) = after {
            self.weak.entry(weakness).or_insert((0, now)).0 += 1;
        }
        let is_forced = self.weak.keys().any(|weakness| weakness.is_forced());
        match self.ask_at {
            None if is_forced => self.ask_at = Some(now + limits::HALT_RETRY),
            Some(_) if !is_forced => self.ask_at = None,
            _ => {}
        }
    }

    /// Partitions by weakness; those without any are not in it.
    pub(super) fn counts(&self) -> BTreeMap<Weakness, usize> {
        let counts = self.weak.iter();
        counts
            .map(|(weakness, (count, _))| (*weakness, *count))
            .collect()
    }

    /// When something is to be said or asked.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let untold = self.weak.iter();
        let untold = untold.filter(|(weakness, _)| !self.told.contains(weakness));
        let told_at = untold.map(|(_, (_, since))| *since + limits::WEAKER_TOLD_AFTER);
        told_at.chain(self.ask_at).min()
    }

    /// What is to be said now. A weakness that is over within moments is not worth a line of its
    /// own: what caused it has been told.
    fn news(&mut self, now: Instant, partitions: usize) -> Vec<Notice> {
        let mut news = Vec::new();
        let over = self.told.iter().copied();
        let over: Vec<_> = over.filter(|told| !self.weak.contains_key(told)).collect();
        for weakness in over {
            self.told.remove(&weakness);
            news.push(Notice::GuaranteeRestored { weakness });
        }
        for (weakness, (weaker, since)) in &self.weak {
            let lasts = *since + limits::WEAKER_TOLD_AFTER <= now;
            if lasts && self.told.insert(*weakness) {
                news.push(Notice::GuaranteeWeakened {
                    weakness: *weakness,
                    weaker: *weaker,
                    partitions,
                });
            }
        }
        news
    }
}

impl Flow {
    /// Says what has become of the guarantee, and asks again for what would mend it.
    pub(super) fn schedule_guarantee(&mut self, now: Instant, actions: &mut Vec<Action>) {
        if self.drain.is_some() {
            return;
        }
        let news = self.watch.news(now, self.slots.len());
        actions.extend(news.into_iter().map(Action::Report));
        if self.watch.ask_at.is_none_or(|at| at > now) {
            return;
        }
        self.watch.ask_at = Some(now + limits::HALT_RETRY);
        // One answer speaks for all: the right is one of the cluster, not of a topic.
        if let Some(id) = self.forced().min() {
            self.watch.asked = Some(id);
            actions.push(Action::AskProducerId(id));
        }
    }

    /// The partitions that do without producer ids.
    fn forced(&self) -> impl Iterator<Item = PartitionId> {
        let partitions = self.slots.iter().map(|slot| &slot.partition);
        partitions
            .filter(|partition| partition.is_forced())
            .map(|partition| partition.id)
    }

    /// Takes a producer id that no recovery asked for: the target gives them out again, and every
    /// partition that does without gets its own.
    pub(super) fn producer_ids_offered(
        &mut self,
        now: Instant,
        id: PartitionId,
        is_granted: bool,
        actions: &mut Vec<Action>,
    ) {
        if self.watch.asked.take_if(|asked| *asked == id).is_none() || !is_granted {
            return;
        }
        let forced: Vec<PartitionId> = self.forced().collect();
        for id in forced {
            self.recover(now, id, RecoveryCause::ProducerIdsOffered, actions);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORCED: Weakness = Weakness::NotIdempotent(Refusal::NotOffered);

    #[test]
    fn the_guarantee_follows_from_what_the_proof_found_and_from_the_first_batch_since() {
        use Guarantee::{ExactlyOnce, Weaker};
        let sound = Footing::default();
        let opened = |because| Footing {
            opened: Some(because),
            ..sound
        };
        let forgotten = Weaker(Weakness::Unfenced(NewBecause::Forgotten));
        let blind = Footing {
            is_blind: true,
            ..sound
        };
        let refused = Refusal::Answered(ErrorCode::CLUSTER_AUTHORIZATION_FAILED);
        let without = |refusal| Footing {
            refusal: Some(refusal),
            ..opened(NewBecause::Unsequenced)
        };
        let unremembered = Weaker(Weakness::Unremembered);
        let cases = [
            ("goes on", sound, ExactlyOnce, ExactlyOnce),
            (
                "the first",
                opened(NewBecause::First),
                ExactlyOnce,
                ExactlyOnce,
            ),
            (
                "forgotten",
                opened(NewBecause::Forgotten),
                forgotten,
                ExactlyOnce,
            ),
            ("blind", blind, unremembered, unremembered),
            (
                "not offered",
                without(Refusal::NotOffered),
                Weaker(FORCED),
                Weaker(FORCED),
            ),
            (
                "refused",
                without(refused),
                Weaker(Weakness::NotIdempotent(refused)),
                Weaker(Weakness::NotIdempotent(refused)),
            ),
        ];
        for (case, footing, before, after) in cases {
            assert_eq!(footing.guarantee(false), before, "{case}");
            assert_eq!(footing.guarantee(true), after, "{case}, used");
        }
    }

    #[test]
    fn a_weakness_is_told_once_it_lasts_and_once_it_is_over() {
        let start = super::super::tests::epoch();
        let later = start + limits::WEAKER_TOLD_AFTER;
        let (weak, sound) = (Guarantee::Weaker(FORCED), Guarantee::ExactlyOnce);
        let mut watch = Watch::default();
        watch.moved(start, sound, weak);
        watch.moved(start, sound, weak);
        assert_eq!(watch.news(start, 3), []);
        assert_eq!(watch.deadline(), Some(later));
        let told = Notice::GuaranteeWeakened {
            weakness: FORCED,
            weaker: 2,
            partitions: 3,
        };
        assert_eq!(watch.news(later, 3), [told]);
        assert_eq!(watch.news(later, 3), []);
        assert_eq!(watch.counts(), BTreeMap::from([(FORCED, 2)]));
        watch.moved(later, weak, sound);
        assert_eq!(watch.news(later, 3), [], "one is still weak");
        assert!(watch.ask_at.is_some());
        watch.moved(later, weak, sound);
        let over = Notice::GuaranteeRestored { weakness: FORCED };
        assert_eq!(watch.news(later, 3), [over]);
        assert_eq!(watch.deadline(), None, "nothing is asked for any more");
    }

    #[test]
    fn what_is_over_within_moments_is_not_told() {
        let start = super::super::tests::epoch();
        let weak = Guarantee::Weaker(Weakness::Unfenced(NewBecause::Broken));
        let mut watch = Watch::default();
        watch.moved(start, Guarantee::ExactlyOnce, weak);
        watch.moved(start, weak, Guarantee::ExactlyOnce);
        let later = start + 2 * limits::WEAKER_TOLD_AFTER;
        assert_eq!(watch.news(later, 1), []);
        assert_eq!(watch.deadline(), None);
    }
}
