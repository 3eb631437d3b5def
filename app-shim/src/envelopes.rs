//! The envelopes that the application's users have shown at the second door. They are sealed to the
//! proxy, so each is kept only when the proxy has found it good for the user beside it: what an outsider
//! makes up for alice never takes the place of hers.
//!
//! Nothing of an envelope is ever logged.

mod memory;

pub(crate) use memory::Memory;

use crate::proxy::{Proxy, ProxyError};
use crate::shares::Shares;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Mutex;
use tokio::time::timeout;
use trefoil_keys::carrier::checked;
use trefoil_keys::envelope::{self, MAX_LENGTH};

/// Envelopes that the proxy is asked about at a time, below the connections that it takes from one
/// network.
const TURNS: usize = 16;
/// How long one waits for its turn.
const PATIENCE: Duration = Duration::from_secs(5);

/// Takes envelopes in.
pub(crate) struct Envelopes {
    shares: Arc<Shares>,
    proxy: Arc<Proxy>,
    /// By the envelope's hash: of many requests at once with one envelope, the first asks.
    turns: [Mutex<()>; TURNS],
}

/// Why an envelope is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum OfferError {
    /// It has expired.
    #[error("share expired")]
    Expired,
    /// Everything else that is wrong with it.
    #[error("share rejected")]
    Rejected,
    /// The proxy does not say, or there is no room.
    #[error("whether the envelope is good cannot be found out now")]
    Unavailable,
}

impl Envelopes {
    /// Takes them in for all connections of the first door.
    pub(crate) fn new(shares: Arc<Shares>, proxy: Arc<Proxy>) -> Self {
        Self { shares, proxy, turns: std::array::from_fn(|_| Mutex::default()) }
    }

    /// Takes an envelope in for the statements of this user, if it is good.
    ///
    /// # Errors
    /// [`OfferError`]; what was kept for the user before stays.
    pub(crate) async fn offer(&self, user: &str, envelope: &str) -> Result<(), OfferError> {
        let fits = |text: &str| !text.is_empty() && checked(text.as_bytes()).is_ok();
        if !fits(user) || !fits(envelope) || envelope.len() > MAX_LENGTH {
            return Err(OfferError::Rejected);
        }
        let hash = envelope::hash(envelope);
        if self.shares.remembered.knows(user, &hash, Instant::now()) {
            return Ok(());
        }
        let [first, ..] = hash;
        let turn = self.turns.get(usize::from(first) % TURNS).ok_or(OfferError::Unavailable)?;
        let _turn = timeout(PATIENCE, turn.lock()).await.map_err(|_| OfferError::Unavailable)?;
        let asked = Instant::now();
        if self.shares.remembered.knows(user, &hash, asked) {
            return Ok(());
        }
        let share = self.shares.application.of(user, |share| share.to_owned());
        let share = zeroize::Zeroizing::new(share);
        if share.is_empty() {
            return Err(OfferError::Rejected);
        }
        let found = self.proxy.check_envelope(user, envelope, &share).await.map_err(refused)?;
        self.shares.remembered.put(user, envelope, hash, &found, asked).map_err(|_| {
            tracing::warn!("there is no room for another envelope");
            OfferError::Unavailable
        })?;
        // Withdrawn in between: the share goes first, then what is remembered.
        if self.shares.application.of(user, str::is_empty) {
            self.shares.remembered.forget(user);
            return Err(OfferError::Rejected);
        }
        Ok(())
    }
}

fn refused(error: ProxyError) -> OfferError {
    match error {
        ProxyError::ShareExpired => OfferError::Expired,
        ProxyError::ShareRejected => OfferError::Rejected,
        error => {
            tracing::warn!("an envelope cannot be checked: {error}");
            OfferError::Unavailable
        }
    }
}
