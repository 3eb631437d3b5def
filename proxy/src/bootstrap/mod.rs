//! The bootstrap: TK and T's signing key are made in one call, handed over once, and confirmed.
//!
//! `open → claimed → ready`, or `burnt` from the first two. Invariant: what is answered was durable
//! before, but for TK and T's signing key, which live in the one call that makes them and are never
//! written; a claim that is repeated with the same claim value gets new ones, as nobody confirmed those
//! before. A proxy that takes a lost one's place is `ready` from the start, by the tenant admin's
//! appointment.

mod appointed;
mod init;

pub use init::{InitArguments, InitError, run as init};

use crate::state::{Bootstrap, Identity, OneTimePassword, State, StateError, Trust, now};
use axum::http::StatusCode;
use serde::Deserialize;
use std::collections::BTreeMap;
use trefoil_https::Problem;
use trefoil_keys::bundle::{CheckValue, Version};
use trefoil_keys::envelope::{EnvelopePublicKey, Sealed};
use trefoil_keys::handover::{Handover, KeyspaceKey};
use trefoil_keys::secret::{Share, TenantKey};
use trefoil_keys::signing::{self, SigningError, SigningKey, VerifyingKey};
use trefoil_keys::{check, kill_point};
use zeroize::Zeroizing;

/// Wrong passwords until the bootstrap is burnt.
const ATTEMPTS: u8 = 5;
const EXPIRED: &str = "its one-time password has expired";

/// The body of a claim. Borrowed from a buffer that is wiped, so no text has escapes.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claim<'a> {
    /// The one-time password.
    pub password: &'a str,
    /// 32 random bytes of the claimer's choice, in base64url.
    pub claim: &'a str,
}

/// The body of a confirmation.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Confirmation<'a> {
    /// As in the claim.
    pub claim: &'a str,
    /// The check values of the TK that the claimer holds.
    pub check_values: BTreeMap<String, CheckValue>,
}

const CLOSED: Problem = Problem::new(
    StatusCode::GONE,
    "closed",
    "the bootstrap is finished, and this path is closed for good",
    "if it was you who finished it, the status says so; else make the proxy anew with \
     trefoil-proxy init --anew --forget-everything",
);
const BURNT: Problem = Problem::new(
    StatusCode::GONE,
    "burnt",
    "the bootstrap is burnt",
    "make the proxy anew with trefoil-proxy init --anew, and bootstrap it with the new password and fingerprint",
);
const PASSWORD: Problem = Problem::new(
    StatusCode::FORBIDDEN,
    "password",
    "the one-time password is wrong",
    "use the password that trefoil-proxy init has printed",
);
/// Not counted: nobody learns anything of the password by it.
const PASSWORD_FORM: Problem = Problem::new(
    StatusCode::BAD_REQUEST,
    "password-form",
    "this is no one-time password: that has 20 letters and digits, in four groups of five",
    "use the password that trefoil-proxy init has printed; this attempt was not counted",
);
const CLAIM_FORM: Problem = Problem::new(
    StatusCode::BAD_REQUEST,
    "claim-form",
    "the claim is not 32 bytes in base64url",
    "use trefoil-admin of the same release",
);
const NOT_CLAIMED: Problem = Problem::new(
    StatusCode::CONFLICT,
    "not-claimed",
    "nobody has claimed the tenant key yet",
    "claim it first",
);
const OTHER_CLAIM: Problem = Problem::new(
    StatusCode::FORBIDDEN,
    "other-claim",
    "the tenant key was claimed by another claim than this",
    "find out who claimed it; make the proxy anew with trefoil-proxy init --anew",
);
const CLAIM_AGAIN: Problem = Problem::new(
    StatusCode::CONFLICT,
    "claim-again",
    "these are not the check values of the tenant key that was handed over last",
    "claim again with the same claim",
);

/// Hands TK and T's signing key over, as the JSON of a [`Handover`].
///
/// # Errors
/// What the claimer is told; whether this burnt the bootstrap is durable before.
pub fn claim(state: &State, request: &Claim<'_>) -> Result<Zeroizing<Vec<u8>>, Problem> {
    if Share::from_base64url(request.claim).is_err() {
        return Err(CLAIM_FORM);
    }
    is_undecided(&state.bootstrap().map_err(internal)?)?;
    let keys = state.public_keys().map_err(internal)?;
    let make = || new_handover(state.identity(), state.receipt_key().verifying_key().clone(), keys);
    kill_point("bootstrap.claiming");
    let handover = state
        .change_bootstrap(|before| judge(before, request, now(), make))
        .map_err(internal)?
        .inspect_err(|problem| tracing::warn!(code = %problem.code, "claim refused: {}", problem.message))?;
    kill_point("bootstrap.claimed");
    tracing::info!("tenant key claimed: it is handed over and not confirmed yet");
    handover.to_claims().map_err(internal)
}

/// The state after a claim, and what the claimer gets.
fn judge(
    before: Bootstrap,
    request: &Claim<'_>,
    now: u64,
    make: impl FnOnce() -> Result<Handover, SigningError>,
) -> (Bootstrap, Result<Handover, Problem>) {
    let (mut password, former) = match before {
        Bootstrap::Open { password } => (password, None),
        Bootstrap::Claimed { password, claim_sha256, trust } => (password, Some((claim_sha256, trust))),
        Bootstrap::Ready { .. } | Bootstrap::Burnt { .. } => {
            let refused = is_undecided(&before).err().unwrap_or(CLOSED);
            return (before, Err(refused));
        }
    };
    if password.expires <= now {
        return burn(EXPIRED);
    }
    if password.hash.read(request.password).is_none() {
        return (reopened(password, former), Err(PASSWORD_FORM));
    }
    if !password.hash.verify(request.password) {
        password.wrong = password.wrong.saturating_add(1);
        if password.wrong >= ATTEMPTS {
            return burn("a wrong one-time password was sent five times");
        }
        let left = ATTEMPTS - password.wrong;
        let problem = PASSWORD
            .saying(format!("the one-time password is wrong; {left} more and the bootstrap is burnt"));
        return (reopened(password, former), Err(problem));
    }
    // Hashes of random bytes: how long they agree tells nothing of the bytes.
    let claim_sha256 = signing::hash(request.claim);
    if former.as_ref().is_some_and(|(claimed, _)| *claimed != claim_sha256) {
        return burn("a second claim came after the first");
    }
    match make() {
        Ok(handover) => {
            let trust = trust(&handover);
            (Bootstrap::Claimed { password, claim_sha256, trust }, Ok(handover))
        }
        Err(error) => (reopened(password, former), Err(internal(error))),
    }
}

/// As it was before a claim that came to nothing.
fn reopened(password: OneTimePassword, former: Option<([u8; 32], Trust)>) -> Bootstrap {
    match former {
        None => Bootstrap::Open { password },
        Some((claim_sha256, trust)) => Bootstrap::Claimed { password, claim_sha256, trust },
    }
}

fn burn<T>(reason: &str) -> (Bootstrap, Result<T, Problem>) {
    (Bootstrap::Burnt { reason: reason.to_owned() }, Err(burnt(reason)))
}

fn burnt(reason: &str) -> Problem {
    BURNT.saying(format!("the bootstrap is burnt: {reason}"))
}

/// Finishes the bootstrap: the claimer has shown that TK of the last answer is safe with it.
///
/// # Errors
/// What the claimer is told.
pub fn confirm(state: &State, request: &Confirmation<'_>) -> Result<(), Problem> {
    is_undecided(&state.bootstrap().map_err(internal)?)?;
    state
        .change_bootstrap(|before| {
            let refused = match &before {
                Bootstrap::Open { .. } => NOT_CLAIMED,
                Bootstrap::Ready { .. } | Bootstrap::Burnt { .. } => {
                    is_undecided(&before).err().unwrap_or(CLOSED)
                }
                Bootstrap::Claimed { claim_sha256, .. } if *claim_sha256 != signing::hash(request.claim) => {
                    OTHER_CLAIM
                }
                Bootstrap::Claimed { trust, .. } if trust.check_values != request.check_values => CLAIM_AGAIN,
                Bootstrap::Claimed { claim_sha256, trust, .. } => {
                    let (claim_sha256, trust) = (Some(*claim_sha256), trust.clone());
                    return (Bootstrap::Ready { claim_sha256, trust }, Ok(()));
                }
            };
            (before, Err(refused))
        })
        .map_err(internal)?
        .inspect_err(|problem| {
            tracing::warn!(code = %problem.code, "confirmation refused: {}", problem.message);
        })?;
    kill_point("bootstrap.confirmed");
    tracing::info!("bootstrap finished: the tenant admin holds the tenant key, and the endpoint is closed");
    Ok(())
}

/// Says in the log why protected columns are not served yet, if they are not.
///
/// # Errors
/// Of the store.
pub fn log_if_unfinished(state: &State) -> Result<(), StateError> {
    settle(state)?;
    match state.bootstrap()? {
        Bootstrap::Ready { .. } => {}
        Bootstrap::Open { password } => {
            let left = password.expires.saturating_sub(now());
            let (hours, minutes) = (left / 3600, left / 60 % 60);
            tracing::warn!(
                "protected columns are refused until the bootstrap; its one-time password counts for another \
                 {hours} h {minutes} min"
            );
        }
        Bootstrap::Claimed { .. } => tracing::warn!(
            "protected columns are refused until the bootstrap is finished: the tenant key was handed over, but \
             its arrival not confirmed; run trefoil-admin bootstrap again"
        ),
        Bootstrap::Burnt { reason } => tracing::error!(
            "protected columns are refused, as the bootstrap is burnt: {reason}; run trefoil-proxy init --anew"
        ),
    }
    Ok(())
}

/// Burns the bootstrap if its password has expired and nobody has claimed with it.
pub fn settle(state: &State) -> Result<(), StateError> {
    let expired = |bootstrap: &Bootstrap| match bootstrap {
        Bootstrap::Open { password } => password.expires <= now(),
        _ => false,
    };
    if !expired(&state.bootstrap()?) {
        return Ok(());
    }
    tracing::error!("the bootstrap is burnt: {EXPIRED}; run trefoil-proxy init --anew");
    state.change_bootstrap(|before| {
        let after = if expired(&before) { Bootstrap::Burnt { reason: EXPIRED.to_owned() } } else { before };
        (after, ())
    })
}

/// Refuses where the bootstrap has come to an end, good or bad.
fn is_undecided(bootstrap: &Bootstrap) -> Result<(), Problem> {
    match bootstrap {
        Bootstrap::Open { .. } | Bootstrap::Claimed { .. } => Ok(()),
        Bootstrap::Ready { .. } => Err(CLOSED),
        Bootstrap::Burnt { reason } => Err(burnt(reason)),
    }
}

/// A new TK for each keyspace and a new key for T to sign with.
fn new_handover(
    identity: &Identity,
    receipt_key: VerifyingKey,
    envelope_keys: Vec<EnvelopePublicKey>,
) -> Result<Handover, SigningError> {
    let keyspaces = identity.keyspaces.iter();
    Ok(Handover {
        version: Version,
        tenant: identity.tenant.clone(),
        application: identity.application.clone(),
        keyspaces: keyspaces
            .map(|(name, epoch)| (name.clone(), KeyspaceKey { epoch: *epoch, key: TenantKey::generate() }))
            .collect(),
        signing_key: SigningKey::generate()?,
        receipt_key,
        envelope_keys,
    })
}

/// What is kept of a hand-over.
fn trust(handover: &Handover) -> Trust {
    let keyspaces = handover.keyspaces.iter();
    Trust {
        check_values: keyspaces
            .map(|(name, KeyspaceKey { epoch, key })| {
                (name.clone(), CheckValue { epoch: *epoch, value: check::value(key, name, *epoch) })
            })
            .collect(),
        tenant_key: handover.signing_key.verifying_key().clone(),
    }
}

fn internal(error: impl std::fmt::Display) -> Problem {
    tracing::error!(%error, "bootstrap");
    Problem::INTERNAL
}
