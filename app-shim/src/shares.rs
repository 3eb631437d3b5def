//! Whose shares go with a request: the application's own shares, re-read on SIGHUP, and envelopes
//! that the shim makes itself when it acts for one user.

use crate::envelope;
use anyhow::{Context as _, ensure};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use trefoil_keys::bundle::{self, ApplicationBundle, UserBundle};
use trefoil_keys::carrier::{MalformedCarrier, app_share, message::KeyMessage};
use trefoil_keys::envelope::{EnvelopePublicKey, Scope};
use zeroize::Zeroizing;

/// The shares of all connections.
pub(crate) struct Shares {
    path: PathBuf,
    application: RwLock<Application>,
    act_for: Option<ActFor>,
}

struct Application {
    id: String,
    /// TKa's in their text form, by user.
    users: HashMap<String, Zeroizing<String>>,
}

struct ActFor {
    bundle: UserBundle,
    key: EnvelopePublicKey,
    lifetime: u64,
    current: Mutex<Option<Made>>,
}

struct Made {
    envelope: Arc<str>,
    issued_at: u64,
}

/// What a connection's proxy has been sent.
#[derive(Default)]
pub(crate) struct Sent {
    /// Whether the request that is under way has had its message.
    pub(crate) in_request: bool,
    user: String,
    envelope: String,
}

impl Shares {
    /// Reads the application's bundle, and that of the user to act for.
    pub(crate) fn open(path: &Path, act_for: Option<&Path>, lifetime: u64) -> anyhow::Result<Self> {
        let application = Application::read(path)?;
        let act_for = act_for.map(|path| ActFor::read(path, lifetime)).transpose()?;
        if let Some(ActFor { bundle, .. }) = &act_for {
            ensure!(
                bundle.audience == application.id,
                "the user bundle is for application {}, the application bundle for {}; issue both for the same one",
                bundle.audience,
                application.id,
            );
        }
        Ok(Self { path: path.to_owned(), application: RwLock::new(application), act_for })
    }

    /// Reads the application's bundle again; on an error the old one stays.
    pub(crate) fn reload(&self) -> anyhow::Result<()> {
        let application = Application::read(&self.path)?;
        *self.application.write().unwrap_or_else(PoisonError::into_inner) = application;
        Ok(())
    }

    /// Appends the `K` message of a request that runs as `user` under `envelope`, unless this request
    /// has had the same already. Without an envelope it is empty, so that the last one is not used
    /// again.
    pub(crate) fn attach(
        &self,
        user: Option<&str>,
        envelope: Option<&str>,
        sent: &mut Sent,
        out: &mut Vec<u8>,
    ) -> Result<(), MalformedCarrier> {
        let own;
        let (user, envelope) = match (user, envelope, &self.act_for) {
            (user, None, Some(act_for)) if user.is_none_or(|user| user == act_for.bundle.user) => {
                own = act_for.envelope();
                (act_for.bundle.user.as_str(), own.as_deref().unwrap_or_default())
            }
            (_, None, _) => ("", ""),
            (user, Some(envelope), _) => (user.unwrap_or_default(), envelope),
        };
        let known = sent.envelope == envelope || envelope.is_empty();
        if sent.in_request && known && sent.user == user {
            return Ok(());
        }
        let application = self.application.read().unwrap_or_else(PoisonError::into_inner);
        let app_share = application.users.get(user).map_or("", |share| share.as_str());
        KeyMessage { user, envelope: if known { "" } else { envelope }, app_share }.encode(out)?;
        user.clone_into(&mut sent.user);
        if !known {
            envelope.clone_into(&mut sent.envelope);
        }
        sent.in_request = true;
        Ok(())
    }
}

impl Application {
    fn read(path: &Path) -> anyhow::Result<Self> {
        let bundle: ApplicationBundle = bundle::read(path)?;
        let text = |shares: &bundle::Shares| {
            app_share::format(shares.iter().map(|(keyspace, issued)| (keyspace.as_str(), &issued.share)))
        };
        let users = bundle.users.into_iter().map(|(user, shares)| Ok((user, text(&shares)?)));
        let users = users.collect::<Result<_, MalformedCarrier>>();
        Ok(Self { id: bundle.application, users: users.context("application bundle: keyspaces of a user")? })
    }
}

impl ActFor {
    fn read(path: &Path, lifetime: u64) -> anyhow::Result<Self> {
        let bundle: UserBundle = bundle::read(path)?;
        let key = EnvelopePublicKey::from_jwk(&bundle.envelope_key)?;
        // Found out now rather than at the first statement.
        envelope::make(&bundle, &key, Scope::Write, envelope::now(), lifetime)?;
        Ok(Self { bundle, key, lifetime, current: Mutex::new(None) })
    }

    /// An envelope with at least half of its life left.
    fn envelope(&self) -> Option<Arc<str>> {
        let now = envelope::now();
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(made) = current.as_ref()
            && (made.issued_at..made.issued_at + self.lifetime / 2).contains(&now)
        {
            return Some(made.envelope.clone());
        }
        match envelope::make(&self.bundle, &self.key, Scope::Write, now, self.lifetime) {
            Ok(envelope) => {
                let envelope: Arc<str> = envelope.into();
                *current = Some(Made { envelope: envelope.clone(), issued_at: now });
                Some(envelope)
            }
            Err(error) => {
                tracing::error!(%error, "cannot make an envelope");
                None
            }
        }
    }
}
