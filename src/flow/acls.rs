//! ACLs: who may read a topic on the source may read its copy.
//!
//! ```text
//!            AskAcls: source        AskAcls: target          ChangeAcls, some at a time
//!  interval -----------------> all -----------------> plan ----------------------------> done
//! ```
//!
//! Both sides are asked and compared, so that a round without news changes nothing. What is copied,
//! and in which form, is [`AclRules`]' business; nothing is removed unless the options say so. A
//! cluster without an authorizer, or one that keeps its ACLs to itself, is told of once and asked
//! again at the interval: records never wait for it. Source: `MirrorSourceConnector.syncTopicAcls`.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
    vec,
};

use kmirror_protocol::ErrorCode;

use super::{
    Action, Failure, Flow, Notice, Side, limits,
    retry::{Backoff, Remedy},
};
use crate::policy::{Acl, AclPlan, AclRules, Decision, acls::LeftOut};

/// What a flow needs to know of ACLs from the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AclOptions {
    /// How often both sides are compared.
    pub interval: Duration,
    /// Whether ACLs on prefixes of topics are copied.
    pub takes_prefixes: bool,
    /// Whether ACLs of the groups that are told of are copied.
    pub takes_groups: bool,
    /// Whether the target loses rights on remote topics that the source does not give.
    pub removes: bool,
}

/// What becomes of ACLs on the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AclChange {
    /// They are added.
    Create,
    /// They are taken away.
    Remove,
}

/// Where a round is.
#[derive(Debug)]
enum Stage {
    Idle,
    AskingSource,
    /// With what the source has.
    AskingTarget(Vec<Acl>),
    Changing(AclChange, Vec<Acl>, Rest),
}

/// What a round has not come to yet.
#[derive(Debug)]
struct Rest {
    missing: vec::IntoIter<Acl>,
    surplus: vec::IntoIter<Acl>,
}

impl Rest {
    fn next(&mut self) -> Option<(AclChange, Vec<Acl>)> {
        let some = |acls: &mut vec::IntoIter<Acl>| -> Vec<Acl> {
            acls.take(limits::ACLS_PER_REQUEST).collect()
        };
        let (missing, surplus) = (&mut self.missing, &mut self.surplus);
        if missing.len() > 0 {
            return Some((AclChange::Create, some(missing)));
        }
        (surplus.len() > 0).then(|| (AclChange::Remove, some(surplus)))
    }
}

/// Why a cluster's ACLs cannot be worked with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Obstacle {
    /// There is no authorizer.
    Disabled,
    /// It does not let this client, or cannot.
    Denied,
    /// It does not answer, or not now.
    Unanswered,
}

impl Obstacle {
    fn of(failure: &Failure) -> Self {
        match failure {
            Failure::Refused(ErrorCode::SECURITY_DISABLED, _) => Self::Disabled,
            failure if failure.remedy() == Remedy::Halt => Self::Denied,
            _ => Self::Unanswered,
        }
    }
}

/// What a flow knows of ACLs.
#[derive(Debug)]
pub(super) struct Acls {
    options: AclOptions,
    stage: Stage,
    next_at: Instant,
    failures: Backoff,
    /// The obstacle that has been told of, while it lasts.
    told: Option<(Side, Obstacle)>,
    is_left_out_told: bool,
    /// ACLs that the target did not take, or not give up, in the round before and in this one.
    refused_before: BTreeSet<Acl>,
    refused: BTreeSet<Acl>,
}

impl Acls {
    pub(super) const fn new(options: AclOptions, now: Instant) -> Self {
        Self {
            options,
            stage: Stage::Idle,
            next_at: now,
            failures: Backoff::new(),
            told: None,
            is_left_out_told: false,
            refused_before: BTreeSet::new(),
            refused: BTreeSet::new(),
        }
    }

    fn deadline(&self) -> Option<Instant> {
        matches!(self.stage, Stage::Idle).then_some(self.next_at)
    }

    fn ask(&self, side: Side) -> Action {
        Action::AskAcls {
            side,
            with_groups: self.options.takes_groups,
        }
    }

    /// Makes the next change, or ends the round.
    fn go_on(&mut self, mut rest: Rest, actions: &mut Vec<Action>) {
        if let Some((change, acls)) = rest.next() {
            self.stage = Stage::Changing(change, acls.clone(), rest);
            actions.push(Action::ChangeAcls { change, acls });
            return;
        }
        self.failures.succeed();
        self.told = None;
        self.refused_before = std::mem::take(&mut self.refused);
    }

    /// Ends a round that failed, and tells what is new to the operator.
    fn fail(&mut self, now: Instant, side: Side, failure: Failure, actions: &mut Vec<Action>) {
        self.stage = Stage::Idle;
        let obstacle = Obstacle::of(&failure);
        if obstacle == Obstacle::Unanswered {
            self.next_at = self.failures.fail(now, 0);
            if self.failures.attempt() < 2 {
                return;
            }
        } else {
            self.next_at = now + self.options.interval;
            self.failures.succeed();
        }
        if self.told.replace((side, obstacle)) == Some((side, obstacle)) {
            return;
        }
        actions.push(Action::Report(match obstacle {
            Obstacle::Disabled => Notice::NoAuthorizer(side),
            Obstacle::Denied => Notice::AclsDenied { side, failure },
            Obstacle::Unanswered => Notice::Waiting {
                side,
                purpose: "its ACLs",
                failure,
            },
        }));
    }

    /// Tells of what the target did with ACLs; answers what keeps it from doing it with any.
    fn tell_changes(
        &mut self,
        change: AclChange,
        asked: Vec<Acl>,
        results: Vec<Result<(), Failure>>,
        actions: &mut Vec<Action>,
    ) -> Option<Failure> {
        let (mut done, mut refused, mut obstacle) = (Vec::new(), Vec::new(), None);
        let mut refusal = None;
        for (acl, result) in asked.into_iter().zip(results) {
            match result {
                Ok(()) => done.push(acl),
                Err(failure) if is_about_one(&failure) => {
                    let is_known = self.refused_before.contains(&acl);
                    if self.refused.insert(acl.clone()) && !is_known {
                        refused.push(acl);
                        refusal.get_or_insert(failure);
                    }
                }
                Err(failure) => {
                    obstacle.get_or_insert(failure);
                }
            }
        }
        if !done.is_empty() {
            let acls = done;
            actions.push(Action::Report(Notice::AclsChanged { change, acls }));
        }
        if let Some(failure) = refusal {
            actions.push(Action::Report(Notice::AclsRefused {
                change,
                acls: refused,
                failure,
            }));
        }
        obstacle
    }
}

/// Whether a failure is about one ACL: others may pass.
fn is_about_one(failure: &Failure) -> bool {
    let is_about_client = matches!(
        failure,
        Failure::Refused(ErrorCode::CLUSTER_AUTHORIZATION_FAILED, _) | Failure::Unsupported(_)
    );
    Obstacle::of(failure) == Obstacle::Denied && !is_about_client
}

impl Flow {
    pub(super) fn acls_deadline(&self) -> Option<Instant> {
        let is_ready = self.drain.is_none() && self.discovery.known_source().is_some();
        let acls = self.acls.as_ref().filter(|_| is_ready);
        acls.and_then(Acls::deadline)
    }

    pub(super) fn schedule_acls(&mut self, now: Instant, actions: &mut Vec<Action>) {
        if self.acls_deadline().is_none_or(|at| at > now) {
            return;
        }
        if let Some(acls) = &mut self.acls {
            acls.next_at = now + acls.options.interval;
            acls.stage = Stage::AskingSource;
            actions.push(acls.ask(Side::Source));
        }
    }

    pub(super) fn acls_described(
        &mut self,
        now: Instant,
        side: Side,
        result: Result<Vec<Acl>, Failure>,
        actions: &mut Vec<Action>,
    ) {
        let Some(acls) = &mut self.acls else {
            return;
        };
        let found = match result {
            Ok(found) => found,
            Err(failure) => return acls.fail(now, side, failure, actions),
        };
        match (side, std::mem::replace(&mut acls.stage, Stage::Idle)) {
            (Side::Source, Stage::AskingSource) => {
                actions.push(acls.ask(Side::Target));
                acls.stage = Stage::AskingTarget(found);
            }
            (Side::Target, Stage::AskingTarget(source)) => {
                let plan = self.plan_acls(&source, &found.into_iter().collect());
                self.change_acls(plan, actions);
            }
            (_, stage) => acls.stage = stage,
        }
    }

    fn plan_acls(&self, source: &[Acl], target: &BTreeSet<Acl>) -> AclPlan {
        let Some(acls) = &self.acls else {
            return AclPlan::default();
        };
        let options = &self.options;
        let groups = options.groups.as_ref();
        let takes_group = |group: &str| groups.is_some_and(|groups| groups.lists(group));
        let rules = AclRules {
            policy: &options.policy,
            source_alias: &options.source_alias,
            target_alias: &options.target_alias,
            topics: &options.topics,
            takes_prefixes: acls.options.takes_prefixes,
            replicated: &self.replicated_topics(),
            takes_group: (acls.options.takes_groups)
                .then_some(&takes_group as &dyn Fn(&str) -> bool),
            removes: acls.options.removes,
        };
        rules.plan(source, target)
    }

    /// The topics of the source that are replicated.
    fn replicated_topics(&self) -> BTreeSet<&str> {
        let options = &self.options;
        let source = self.discovery.known_source().into_iter();
        let names = source.flat_map(|view| view.topics.keys());
        let replicated = names.filter(|name| {
            let topics = &options.topics;
            let decision = topics.wanted(&options.policy, &options.target_alias, name);
            decision == Ok(Decision::Wanted)
        });
        replicated.map(|name| &**name).collect()
    }

    fn change_acls(&mut self, plan: AclPlan, actions: &mut Vec<Action>) {
        let Some(acls) = &mut self.acls else {
            return;
        };
        let is_news = plan.left_out != LeftOut::default();
        if is_news && !std::mem::replace(&mut acls.is_left_out_told, true) {
            actions.push(Action::Report(Notice::AclsLeftOut(plan.left_out)));
        }
        let rest = Rest {
            missing: plan.missing.into_iter(),
            surplus: plan.surplus.into_iter(),
        };
        acls.go_on(rest, actions);
    }

    pub(super) fn acls_changed(
        &mut self,
        now: Instant,
        results: Vec<Result<(), Failure>>,
        actions: &mut Vec<Action>,
    ) {
        let Some(acls) = &mut self.acls else {
            return;
        };
        match std::mem::replace(&mut acls.stage, Stage::Idle) {
            Stage::Changing(change, asked, rest) => {
                match acls.tell_changes(change, asked, results, actions) {
                    Some(failure) => acls.fail(now, Side::Target, failure, actions),
                    None => acls.go_on(rest, actions),
                }
            }
            stage => acls.stage = stage,
        }
    }
}
