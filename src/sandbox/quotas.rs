//! Quotas of clients: which are set, and how long somebody has to wait who exceeds one.
//!
//! Byte rates are enforced, other quotas only kept. Source: `ClientQuotaControlManager`,
//! `ClientQuotasImage`, `ClientQuotaManager.DefaultQuotaCallback`, `Rate`, `QuotaUtils`.

use std::collections::{BTreeMap, VecDeque};

use super::Timestamp;

pub(super) const USER: &str = "user";
pub(super) const CLIENT_ID: &str = "client-id";
pub(super) const IP: &str = "ip";

/// How many samples a rate is measured over (`quota.window.num`).
const SAMPLES: i32 = 11;
/// How long each is, in milliseconds (`quota.window.size.seconds`).
const SAMPLE_MS: i32 = 1_000;

/// Whom quotas are for: type and name of each part, where no name is the default of its type.
pub(super) type Entity = BTreeMap<String, Option<String>>;

/// What is limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Direction {
    Produce,
    Fetch,
}

impl Direction {
    const fn key(self) -> &'static str {
        match self {
            Self::Produce => "producer_byte_rate",
            Self::Fetch => "consumer_byte_rate",
        }
    }
}

/// One quota to set, or with no value to remove.
pub(super) type Change<'a> = (&'a str, Option<f64>);

/// All quotas, and the rates of those who have one.
#[derive(Debug, Default)]
pub(super) struct Quotas {
    entities: BTreeMap<Entity, BTreeMap<String, f64>>,
    rates: BTreeMap<(Direction, Entity), Rate>,
}

impl Quotas {
    /// What an entity has after changes; nothing is stored unless asked to.
    ///
    /// # Errors
    ///
    /// What is wrong, in Kafka's words, for `INVALID_REQUEST`.
    pub(super) fn alter(
        &mut self,
        entity: &Entity,
        changes: &[Change<'_>],
        validate_only: bool,
    ) -> Result<(), String> {
        let keys = allowed_keys(entity)?;
        let mut values = self.entities.get(entity).cloned().unwrap_or_default();
        for (key, value) in changes {
            if changes.iter().filter(|(other, _)| other == key).count() > 1 {
                return Err(format!("Duplicate quota key {key}"));
            }
            match value {
                None => drop(values.remove(*key)),
                Some(value) => {
                    check_value(keys, key, *value)?;
                    values.insert((*key).to_owned(), *value);
                }
            }
        }
        if !validate_only {
            if values.is_empty() {
                self.entities.remove(entity);
            } else {
                self.entities.insert(entity.clone(), values);
            }
        }
        Ok(())
    }

    /// Every entity that has quotas.
    pub(super) fn entities(&self) -> impl Iterator<Item = (&Entity, &BTreeMap<String, f64>)> {
        self.entities.iter()
    }

    /// Counts bytes of somebody; answers for how many milliseconds the client has to wait.
    pub(super) fn record(
        &mut self,
        now: Timestamp,
        direction: Direction,
        (user, client_id): (&str, &str),
        bytes: f64,
    ) -> i32 {
        let Some((entity, bound)) = self.limit(direction, user, client_id) else {
            return 0;
        };
        let rate = self.rates.entry((direction, entity)).or_default();
        rate.record(now, bytes);
        rate.excess_ms(now, bound)
    }

    /// The most bytes that can be read at once without a wait being certain.
    pub(super) fn bytes_max(
        &self,
        direction: Direction,
        (user, client_id): (&str, &str),
    ) -> Option<f64> {
        let (_, bound) = self.limit(direction, user, client_id)?;
        Some(bound * f64::from(SAMPLES - 1) * f64::from(SAMPLE_MS) / 1_000.0)
    }

    /// The quota that counts for somebody, and for whom together.
    fn limit(&self, direction: Direction, user: &str, client_id: &str) -> Option<(Entity, f64)> {
        if self.entities.is_empty() {
            return None;
        }
        // What is set for; what it is shared by.
        let part = |kind: &str, name: Option<&str>| (kind.to_owned(), name.map(str::to_owned));
        let (of_user, of_client) = (part(USER, Some(user)), part(CLIENT_ID, Some(client_id)));
        let (any_user, any_client) = (part(USER, None), part(CLIENT_ID, None));
        let both = [&of_user, &of_client];
        let levels: [(&[_], &[_]); 8] = [
            (&both, &both),
            (&[&of_user, &any_client], &both),
            (&[&of_user], &[&of_user]),
            (&[&any_user, &of_client], &both),
            (&[&any_user, &any_client], &both),
            (&[&any_user], &[&of_user]),
            (&[&of_client], &[&of_client]),
            (&[&any_client], &[&of_client]),
        ];
        let entity = |parts: &[&(String, Option<String>)]| -> Entity {
            parts.iter().map(|part| (*part).clone()).collect()
        };
        levels.iter().find_map(|(set_for, shared_by)| {
            let values = self.entities.get(&entity(set_for))?;
            Some((entity(shared_by), *values.get(direction.key())?))
        })
    }
}

/// A quota's name and the greatest value of its type, if it must be a whole number.
type QuotaKey = (&'static str, Option<f64>);

/// The greatest whole number of 64 bits, as near as it can be said.
const LONG_MAX: f64 = 9_223_372_036_854_775_807.0;

const USER_AND_CLIENT_KEYS: &[QuotaKey] = &[
    ("producer_byte_rate", Some(LONG_MAX)),
    ("consumer_byte_rate", Some(LONG_MAX)),
    ("request_percentage", None),
    ("controller_mutation_rate", None),
];

const IP_KEYS: &[QuotaKey] = &[("connection_creation_rate", Some(2_147_483_647.0))];

fn allowed_keys(entity: &Entity) -> Result<&'static [QuotaKey], String> {
    let unknown = |kind: &&String| ![USER, CLIENT_ID, IP].contains(&kind.as_str());
    if entity.is_empty() {
        Err("Invalid empty client quota entity".to_owned())
    } else if let Some(kind) = entity.keys().find(unknown) {
        Err(format!("Unhandled client quota entity type: {kind}"))
    } else if !entity.contains_key(IP) {
        Ok(USER_AND_CLIENT_KEYS)
    } else if entity.len() == 1 {
        Ok(IP_KEYS)
    } else {
        Err("Invalid quota entity combination, IP entity should not be combined with User or ClientId".to_owned())
    }
}

fn check_value(keys: &[QuotaKey], key: &str, value: f64) -> Result<(), String> {
    let known = keys.iter().find(|(name, _)| *name == key);
    let (_, whole_max) = known.ok_or_else(|| format!("Invalid configuration key {key}"))?;
    if value <= 0.0 || value.is_nan() {
        return Err(format!("Quota {key} must be greater than 0"));
    }
    match whole_max {
        Some(max) if value > *max => Err(format!("Proposed value for {key} is too large")),
        Some(_) if (value % 1.0).abs() > 1e-6 => {
            Err(format!("{key} cannot be a fractional value."))
        }
        _ => Ok(()),
    }
}

/// Bytes by second, over the last samples.
#[derive(Debug, Default)]
struct Rate {
    /// When each sample began, and its bytes.
    samples: VecDeque<(Timestamp, f64)>,
}

impl Rate {
    fn record(&mut self, now: Timestamp, bytes: f64) {
        let is_over = |begun: Timestamp, ms: i32| now >= begun.plus_ms(i64::from(ms));
        while self
            .samples
            .front()
            .is_some_and(|(begun, _)| is_over(*begun, SAMPLES * SAMPLE_MS))
        {
            self.samples.pop_front();
        }
        match self.samples.back_mut() {
            Some((begun, sum)) if !is_over(*begun, SAMPLE_MS) => *sum += bytes,
            _ => self.samples.push_back((now, bytes)),
        }
    }

    /// How long the rate must rest to come down to a bound, in milliseconds.
    fn excess_ms(&self, now: Timestamp, bound: f64) -> i32 {
        let window_ms = f64::from(self.window_ms(now));
        let sum: f64 = self.samples.iter().map(|(_, bytes)| bytes).sum();
        let rate = sum / (window_ms / 1_000.0);
        if rate <= bound {
            return 0;
        }
        // The conversion saturates.
        ((rate - bound) / bound * window_ms).round() as i32
    }

    /// What the samples span; a client that has just begun is taken for one that was quiet.
    fn window_ms(&self, now: Timestamp) -> i32 {
        let begun = self.samples.front().map_or(now, |(begun, _)| *begun);
        let elapsed_ms = now
            .0
            .saturating_sub(begun.0)
            .clamp(0, i64::from(SAMPLES * SAMPLE_MS));
        let elapsed_ms = i32::try_from(elapsed_ms).unwrap_or_default();
        let missing = (SAMPLES - 1).saturating_sub(elapsed_ms / SAMPLE_MS).max(0);
        elapsed_ms + missing * SAMPLE_MS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp(1_000_000);

    fn entity(parts: &[(&str, Option<&str>)]) -> Entity {
        let parts = parts.iter();
        parts
            .map(|(kind, name)| ((*kind).to_owned(), name.map(str::to_owned)))
            .collect()
    }

    #[test]
    fn values_are_checked_by_key_and_entity() {
        let user = entity(&[(USER, Some("u"))]);
        let ip = entity(&[(IP, Some("10.0.0.1"))]);
        let cases: [(&Entity, &str, f64, bool); 10] = [
            (&user, "producer_byte_rate", 1.0, true),
            (&user, "producer_byte_rate", 1.5, false),
            (&user, "producer_byte_rate", 0.0, false),
            (&user, "request_percentage", 1.5, true),
            (&user, "no_such_rate", 1.0, false),
            (&user, "connection_creation_rate", 1.0, false),
            (&ip, "connection_creation_rate", 1.0, true),
            (&ip, "producer_byte_rate", 1.0, false),
            (&entity(&[]), "producer_byte_rate", 1.0, false),
            (&entity(&[("host", None)]), "producer_byte_rate", 1.0, false),
        ];
        for (entity, key, value, is_valid) in cases {
            let altered = Quotas::default().alter(entity, &[(key, Some(value))], false);
            assert_eq!(altered.is_ok(), is_valid, "{entity:?} {key} {value}");
        }
        let both = entity(&[(IP, None), (USER, None)]);
        assert!(Quotas::default().alter(&both, &[], false).is_err());
    }

    #[test]
    fn the_most_particular_quota_counts() {
        let mut quotas = Quotas::default();
        let levels = [
            entity(&[(CLIENT_ID, None)]),
            entity(&[(CLIENT_ID, Some("c"))]),
            entity(&[(USER, None)]),
            entity(&[(USER, None), (CLIENT_ID, None)]),
            entity(&[(USER, None), (CLIENT_ID, Some("c"))]),
            entity(&[(USER, Some("u"))]),
            entity(&[(USER, Some("u")), (CLIENT_ID, None)]),
            entity(&[(USER, Some("u")), (CLIENT_ID, Some("c"))]),
        ];
        for (bound, level) in (1..).zip(&levels) {
            let bound = f64::from(bound);
            quotas
                .alter(level, &[("producer_byte_rate", Some(bound))], false)
                .unwrap();
            let (_, found) = quotas.limit(Direction::Produce, "u", "c").unwrap();
            assert_eq!(found, bound, "{level:?}");
        }
        assert!(quotas.limit(Direction::Fetch, "u", "c").is_none());
    }

    #[test]
    fn who_exceeds_a_rate_waits_until_the_average_fits() {
        let mut quotas = Quotas::default();
        let of = entity(&[(CLIENT_ID, Some("c"))]);
        quotas
            .alter(&of, &[("producer_byte_rate", Some(1_000.0))], false)
            .unwrap();
        let mut record = |at_ms, bytes| {
            quotas.record(START.plus_ms(at_ms), Direction::Produce, ("u", "c"), bytes)
        };
        // Ten seconds' worth is within the window of one that was quiet.
        assert_eq!(record(0, 10_000.0), 0);
        assert_eq!(record(0, 5_000.0), 5_000);
        assert_eq!(record(10_000, 1.0), 5_001);
        // The first sample has left the window.
        assert_eq!(record(11_000, 1.0), 0);
        let other = quotas.record(START, Direction::Produce, ("u", "d"), 1e9);
        assert_eq!(other, 0);
    }
}
