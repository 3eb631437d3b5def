//! The sealed proxy share: `tku+jwe`'s sibling `tkp+jwe`, with which the tenant admin sends TKp's to the
//! proxy through the application. Claims `sub iat tkp {keyspace: {epoch, share}}` for one user, or
//! `iat users {sub: {keyspace: {epoch, share}}}` for several.

use crate::bundle::Shares;
use crate::command::MAX_BATCH;
use crate::envelope::{EnvelopeError, Reason, Sealed};
use crate::json::unique_map;
use crate::private_file;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use zeroize::Zeroizing;

/// TKp's on their way to the proxy.
pub struct ProxyShares {
    /// When they were made, in seconds since 1970.
    pub iat: u64,
    /// For whom.
    pub recipients: Recipients,
}

/// One user or several.
pub enum Recipients {
    /// For an operation on one user.
    User {
        /// UId.
        sub: String,
        /// The user's TKp's; at least one.
        tkp: Shares,
    },
    /// For a batch: TKp's by UId, of 1 to [`MAX_BATCH`] users.
    Batch(BTreeMap<String, Shares>),
}

impl ProxyShares {
    fn is_complete(&self) -> bool {
        let complete = |sub: &str, shares: &Shares| {
            !sub.is_empty() && !shares.is_empty() && shares.keys().all(|keyspace| !keyspace.is_empty())
        };
        match &self.recipients {
            Recipients::User { sub, tkp } => complete(sub, tkp),
            Recipients::Batch(users) => {
                (1..=MAX_BATCH).contains(&users.len()) && users.iter().all(|(sub, tkp)| complete(sub, tkp))
            }
        }
    }
}

impl Sealed for ProxyShares {
    const TYP: &'static str = "tkp+jwe";
    const MAX_LENGTH: usize = 2 << 20;

    fn to_claims(&self) -> Result<Zeroizing<Vec<u8>>, EnvelopeError> {
        if !self.is_complete() {
            return Err(EnvelopeError::Unsealable);
        }
        let iat = self.iat;
        let claims = match &self.recipients {
            Recipients::User { sub, tkp } => ClaimsOut { sub: Some(sub), iat, tkp: Some(tkp), users: None },
            Recipients::Batch(users) => ClaimsOut { sub: None, iat, tkp: None, users: Some(users) },
        };
        private_file::to_json(&claims).map_err(|_| EnvelopeError::Unsealable)
    }

    fn from_claims(json: &[u8]) -> Result<Self, EnvelopeError> {
        let rejected = EnvelopeError::Rejected(Reason::Claims);
        let claims: ClaimsIn = serde_json::from_slice(json).map_err(|_| rejected)?;
        let recipients = match claims {
            ClaimsIn { sub: Some(sub), tkp: Some(Unique(tkp)), users: None, .. } => {
                Recipients::User { sub, tkp }
            }
            ClaimsIn { sub: None, tkp: None, users: Some(Unique(users)), .. } => {
                Recipients::Batch(users.into_iter().map(|(sub, Unique(tkp))| (sub, tkp)).collect())
            }
            _ => return Err(rejected),
        };
        let shares = Self { iat: claims.iat, recipients };
        if shares.is_complete() { Ok(shares) } else { Err(rejected) }
    }
}

#[derive(Serialize)]
struct ClaimsOut<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    sub: Option<&'a str>,
    iat: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    tkp: Option<&'a Shares>,
    #[serde(skip_serializing_if = "Option::is_none")]
    users: Option<&'a BTreeMap<String, Shares>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ClaimsIn {
    sub: Option<String>,
    iat: u64,
    tkp: Option<Unique<crate::bundle::IssuedShare>>,
    users: Option<Unique<Unique<crate::bundle::IssuedShare>>>,
}

#[derive(Deserialize)]
#[serde(bound = "V: Deserialize<'de>")]
struct Unique<V>(#[serde(with = "unique_map")] BTreeMap<String, V>);
