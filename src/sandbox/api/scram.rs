//! DescribeUserScramCredentials and AlterUserScramCredentials (KIP-554).
//!
//! Only who has which mechanism with how many iterations is kept: salts and salted passwords are
//! read and thrown away. Source: `ScramControlManager`, `ScramImage`.

use std::collections::{BTreeMap, BTreeSet};

use kmirror_protocol::{
    ErrorCode,
    messages::{
        AlterUserScramCredentialsRequest, AlterUserScramCredentialsResponse,
        DescribeUserScramCredentialsRequest, DescribeUserScramCredentialsResponse,
        alter_user_scram_credentials::{
            AlterUserScramCredentialsResult, ScramCredentialDeletion, ScramCredentialUpsertion,
        },
        describe_user_scram_credentials::{CredentialInfo, DescribeUserScramCredentialsResult},
    },
};

use super::{ApiError, Call, Cluster, Outcome, code_and_message};
use crate::sandbox::acls::{Operation, Resource};

/// SCRAM-SHA-256 and SCRAM-SHA-512, which allow the same numbers of iterations.
const MECHANISMS: std::ops::RangeInclusive<i8> = 1..=2;
const ITERATIONS_MIN: i32 = 4_096;
const ITERATIONS_MAX: i32 = 16_384;

pub(super) fn describe(
    cluster: &mut Cluster,
    call: &Call<'_>,
    request: &DescribeUserScramCredentialsRequest<'_>,
) -> Outcome {
    if let Err(error_code) = call.check(cluster, Operation::Describe, Resource::Cluster) {
        return call.reply::<DescribeUserScramCredentialsRequest<'_>>(
            &DescribeUserScramCredentialsResponse {
                error_code,
                ..Default::default()
            },
        );
    }
    let named: Vec<&str> = request
        .users
        .iter()
        .flatten()
        .map(|user| user.name)
        .collect();
    let all = cluster
        .scram_iterations
        .keys()
        .map(|(user, _)| user.as_str());
    let users: BTreeSet<&str> = if named.is_empty() {
        all.collect()
    } else {
        named.iter().copied().collect()
    };
    let is_duplicate = |user: &str| named.iter().filter(|it| **it == user).count() > 1;
    let users = users.into_iter();
    let found: Vec<_> = users
        .map(|user| (user, credentials(cluster, user, is_duplicate(user))))
        .collect();
    let results = found.iter().map(|(user, found)| {
        let (error_code, error_message) = code_and_message(found);
        DescribeUserScramCredentialsResult {
            user,
            error_code,
            error_message,
            credential_infos: found
                .as_ref()
                .cloned()
                .unwrap_or_default()
                .into_iter()
                .collect(),
        }
    });
    call.reply::<DescribeUserScramCredentialsRequest<'_>>(&DescribeUserScramCredentialsResponse {
        results: results.collect(),
        ..Default::default()
    })
}

fn credentials(
    cluster: &Cluster,
    user: &str,
    is_duplicate: bool,
) -> Result<Vec<CredentialInfo>, ApiError> {
    if is_duplicate {
        let message = format!(
            "Cannot describe SCRAM credentials for the same user twice in a single request: {user}"
        );
        return Err(ApiError::new(ErrorCode::DUPLICATE_RESOURCE, message));
    }
    let all = cluster.scram_iterations.iter();
    let own = all.filter(|((name, _), _)| name == user);
    let own: Vec<_> = own
        .map(|((_, mechanism), iterations)| CredentialInfo {
            mechanism: *mechanism,
            iterations: *iterations,
        })
        .collect();
    if own.is_empty() {
        let message = format!("Attempt to describe a user credential that does not exist: {user}");
        return Err(ApiError::new(ErrorCode::RESOURCE_NOT_FOUND, message));
    }
    Ok(own)
}

/// What becomes of one credential: how many iterations it has, or none to delete it.
type Change<'a> = (&'a str, i8, Option<i32>);

pub(super) fn alter(
    cluster: &mut Cluster,
    call: &Call<'_>,
    request: &AlterUserScramCredentialsRequest<'_>,
) -> Outcome {
    let checked = call.check(cluster, Operation::Alter, Resource::Cluster);
    let deletions = request.deletions.iter();
    let deletions = deletions.map(|it: ScramCredentialDeletion<'_>| (it.name, it.mechanism, None));
    let upsertions = request.upsertions.iter();
    let upsertions = upsertions
        .map(|it: ScramCredentialUpsertion<'_>| (it.name, it.mechanism, Some(it.iterations)));
    let mut results: BTreeMap<&str, Result<Change<'_>, ApiError>> = BTreeMap::new();
    for change in deletions.chain(upsertions) {
        let result = match checked {
            Err(code) => Err(ApiError::from(code)),
            Ok(()) => check(cluster, change).map(|()| change),
        };
        results
            .entry(change.0)
            .and_modify(|earlier| {
                // An error that came first stays.
                if earlier.is_ok() {
                    *earlier = Err(ApiError::new(
                        ErrorCode::DUPLICATE_RESOURCE,
                        "A user credential cannot be altered twice in the same request",
                    ));
                }
            })
            .or_insert(result);
    }
    for (user, mechanism, iterations) in results.values().flatten() {
        let key = ((*user).to_owned(), *mechanism);
        match iterations {
            Some(iterations) => drop(cluster.scram_iterations.insert(key, *iterations)),
            None => drop(cluster.scram_iterations.remove(&key)),
        }
    }
    let results = results.iter().map(|(user, result)| {
        let (error_code, error_message) = code_and_message(result);
        AlterUserScramCredentialsResult {
            user,
            error_code,
            error_message,
        }
    });
    call.reply::<AlterUserScramCredentialsRequest<'_>>(&AlterUserScramCredentialsResponse {
        throttle_time_ms: 0,
        results: results.collect(),
    })
}

fn check(cluster: &Cluster, (user, mechanism, iterations): Change<'_>) -> Result<(), ApiError> {
    let (code, message) = match iterations {
        _ if user.is_empty() => (
            ErrorCode::UNACCEPTABLE_CREDENTIAL,
            "Username must not be empty",
        ),
        _ if !MECHANISMS.contains(&mechanism) => (
            ErrorCode::UNSUPPORTED_SASL_MECHANISM,
            "Unknown SCRAM mechanism",
        ),
        None if !cluster
            .scram_iterations
            .contains_key(&(user.to_owned(), mechanism)) =>
        {
            (
                ErrorCode::RESOURCE_NOT_FOUND,
                "Attempt to delete a user credential that does not exist",
            )
        }
        Some(..ITERATIONS_MIN) => (ErrorCode::UNACCEPTABLE_CREDENTIAL, "Too few iterations"),
        Some(iterations) if iterations > ITERATIONS_MAX => {
            (ErrorCode::UNACCEPTABLE_CREDENTIAL, "Too many iterations")
        }
        _ => return Ok(()),
    };
    Err(ApiError::new(code, message))
}
