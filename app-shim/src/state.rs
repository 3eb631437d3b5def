//! What the sidecar keeps in its store: who it is, which proxy it belongs to, the application's shares,
//! and the command that is under way. Each change here is one transaction.

use crate::tka::{self, Text};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use trefoil_https::Problem;
use trefoil_keys::bundle::Shares;
use trefoil_keys::carrier::MalformedCarrier;
use trefoil_keys::command::{Command, Delivery, Operation};
use trefoil_keys::lock::Lock;
use trefoil_keys::password::PasswordHash;
use trefoil_keys::signing::VerifyingKey;
use trefoil_keys::store::{Store, StoreError, Transaction, View};
use trefoil_keys::tls::SelfSigned;

/// Receipts that are kept.
const KEPT: u64 = 1000;

const USERS: &str = "users";
/// By the command's number.
const RECEIPTS: &str = "receipts";
/// Users that were withdrawn: an older command does not bring them back.
const WITHDRAWN: &str = "withdrawn";
/// What there is one of.
const ABOUT: &str = "about";

const CERTIFICATE: &str = "certificate";
const PRIVATE_KEY: &str = "private-key";
const PASSWORD: &str = "password";
const PROXY: &str = "proxy";
const ANNOUNCEMENT: &str = "announcement";
/// The delivery that is prepared.
const PREPARED: &str = "prepared";
/// Number of the last command that was applied.
const LAST: &str = "last";

/// The proxy, as it is known since the first contact.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct KnownProxy {
    /// Tenant's name.
    pub(crate) tenant: String,
    /// The application's id.
    pub(crate) application: String,
    /// What the proxy signs with.
    pub(crate) receipt_key: VerifyingKey,
    /// What the tenant admin signs with; unknown until the proxy's bootstrap is done.
    pub(crate) tenant_key: Option<VerifyingKey>,
}

/// What a state begins with.
pub(crate) struct Beginning {
    /// Certificate and private key of the HTTPS interface.
    pub(crate) identity: SelfSigned,
    /// The hash of the tenant admin's password.
    pub(crate) password: PasswordHash,
    /// The proxy.
    pub(crate) proxy: KnownProxy,
    /// Number of the last command that the proxy has applied.
    pub(crate) last: u64,
}

/// Why the state cannot be used. The messages are whole and have no source.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StateError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Something that `init` writes is missing.
    #[error("the state directory is not complete: init was interrupted; run trefoil-shim init --anew")]
    Incomplete,
    /// Shares that cannot go with a request.
    #[error("the shares of a user cannot be used: {0}")]
    Shares(#[from] MalformedCarrier),
}

/// The store.
pub(crate) struct State(Store);

impl State {
    /// Makes the store; with `anew` in place of the one that there may be.
    pub(crate) fn create(
        directory: &Path,
        lock: &Lock,
        anew: bool,
        beginning: &Beginning,
    ) -> Result<(), StateError> {
        let store = if anew { Store::replace(directory, lock)? } else { Store::create(directory, lock)? };
        let Beginning { identity, password, proxy, last } = beginning;
        store.write(|tx| {
            tx.put(ABOUT, CERTIFICATE, &identity.certificate)?;
            tx.put(ABOUT, PRIVATE_KEY, &identity.private_key)?;
            tx.put_json(ABOUT, PASSWORD, &password.to_string())?;
            tx.put_json(ABOUT, LAST, last)?;
            Ok(tx.put_json(ABOUT, PROXY, proxy)?)
        })
    }

    /// Opens the store and verifies it.
    pub(crate) fn open(directory: &Path, lock: &Lock) -> Result<Self, StateError> {
        Ok(Self(Store::open(directory, lock)?))
    }

    fn read<T>(&self, look: impl FnOnce(&View<'_>) -> Result<T, StateError>) -> Result<T, StateError> {
        self.mend()?;
        self.0.read(look)
    }

    fn write<T>(
        &self,
        work: impl FnOnce(&mut Transaction<'_>) -> Result<T, StateError>,
    ) -> Result<T, StateError> {
        self.mend()?;
        self.0.write(work)
    }

    /// Opens the store again if the disk has closed it. A commit that may have happened is made again by
    /// whoever it was refused to, and only then do requests see it.
    fn mend(&self) -> Result<(), StateError> {
        self.0.mend(|_| Ok(()))
    }

    /// Why the store cannot be written, if its last write failed.
    pub(crate) fn fault(&self) -> Option<String> {
        match self.mend() {
            Err(error) => Some(self.0.fault().unwrap_or_else(|| error.to_string())),
            Ok(()) => self.0.fault(),
        }
    }

    /// Certificate and private key of the HTTPS interface.
    pub(crate) fn identity(&self) -> Result<SelfSigned, StateError> {
        self.read(|view| {
            let certificate = whole(view.get(ABOUT, CERTIFICATE))?.to_vec().into();
            Ok(SelfSigned { certificate, private_key: whole(view.get(ABOUT, PRIVATE_KEY))? })
        })
    }

    /// The hash of the tenant admin's password.
    pub(crate) fn password(&self) -> Result<PasswordHash, StateError> {
        let text: String = self.read(|view| whole(view.get_json(ABOUT, PASSWORD)))?;
        PasswordHash::parse(&text).map_err(|_| StateError::Incomplete)
    }

    /// Puts another password in place of the tenant admin's.
    pub(crate) fn put_password(&self, password: &PasswordHash) -> Result<(), StateError> {
        self.write(|tx| Ok(tx.put_json(ABOUT, PASSWORD, &password.to_string())?))
    }

    /// The proxy.
    pub(crate) fn proxy(&self) -> Result<KnownProxy, StateError> {
        self.read(|view| whole(view.get_json(ABOUT, PROXY)))
    }

    /// Notes what more is known of the proxy.
    pub(crate) fn put_proxy(&self, proxy: &KnownProxy) -> Result<(), StateError> {
        self.write(|tx| Ok(tx.put_json(ABOUT, PROXY, proxy)?))
    }

    /// Puts another proxy in place of the one that was known, which has applied commands up to `last`.
    /// What the former one has decided counts no more. The announcement stays with the tenant admin's
    /// key, or else an older one could come again.
    pub(crate) fn replace_proxy(&self, proxy: &KnownProxy, last: u64) -> Result<(), StateError> {
        self.write(|tx| {
            let former: KnownProxy = whole(tx.get_json(ABOUT, PROXY))?;
            if former.tenant_key.is_none() || former.tenant_key != proxy.tenant_key {
                tx.remove(ABOUT, ANNOUNCEMENT)?;
            }
            let receipts: Result<Vec<_>, _> =
                tx.entries(RECEIPTS)?.map(|entry| entry.map(|(number, _)| number)).collect();
            for number in receipts? {
                tx.remove(RECEIPTS, &number)?;
            }
            tx.remove(ABOUT, PREPARED)?;
            tx.put_json(ABOUT, LAST, &last)?;
            Ok(tx.put_json(ABOUT, PROXY, proxy)?)
        })
    }

    /// All users' shares as they go with requests.
    pub(crate) fn shares(&self) -> Result<HashMap<String, Text>, StateError> {
        self.read(|view| {
            let users = view.entries_json::<Shares>(USERS)?;
            users
                .map(|entry| {
                    entry.map_err(StateError::from).and_then(|(uid, shares)| Ok((uid, tka::text(&shares)?)))
                })
                .collect()
        })
    }

    /// The epochs of all users' shares, by keyspace.
    pub(crate) fn epochs(&self) -> Result<BTreeMap<String, BTreeMap<String, u8>>, StateError> {
        let epochs =
            |shares: Shares| shares.into_iter().map(|(keyspace, issued)| (keyspace, issued.epoch)).collect();
        self.read(|view| {
            let users = view.entries_json::<Shares>(USERS)?;
            users
                .map(|entry| entry.map(|(uid, shares)| (uid, epochs(shares))).map_err(StateError::from))
                .collect()
        })
    }

    /// Number of the last command that was applied; 0 if none was.
    pub(crate) fn last(&self) -> Result<u64, StateError> {
        self.read(|view| whole(view.get_json(ABOUT, LAST)))
    }

    /// The proxy's receipt for the command of this number, if it was applied and is not long ago.
    pub(crate) fn receipt(&self, seq: u64) -> Result<Option<String>, StateError> {
        self.read(|view| Ok(view.get_json(RECEIPTS, &seq.to_string())?))
    }

    /// The delivery that is prepared.
    pub(crate) fn prepared(&self) -> Result<Option<Delivery>, StateError> {
        self.read(|view| Ok(view.get_json(ABOUT, PREPARED)?))
    }

    /// Prepares: from now on the delivery survives whatever happens.
    pub(crate) fn prepare(&self, delivery: &Delivery) -> Result<(), StateError> {
        self.write(|tx| Ok(tx.put_json(ABOUT, PREPARED, delivery)?))
    }

    /// Commits the prepared delivery: its shares are in force, and the proxy's receipt is kept.
    pub(crate) fn commit(
        &self,
        command: &Command,
        delivery: &Delivery,
        receipt: &str,
    ) -> Result<(), StateError> {
        self.write(|tx| {
            for (uid, shares) in &delivery.tka {
                tx.put_json(USERS, uid, shares)?;
            }
            if let Operation::Withdraw { sub } = &command.op {
                withdraw(tx, sub)?;
            }
            tx.put_json(RECEIPTS, &command.seq.to_string(), receipt)?;
            if let Some(old) = command.seq.checked_sub(KEPT) {
                tx.remove(RECEIPTS, &old.to_string())?;
            }
            tx.put_json(ABOUT, LAST, &command.seq)?;
            tx.remove(ABOUT, PREPARED)?;
            Ok(())
        })
    }

    /// Takes what is missing here of a command that the proxy has applied and whose number is passed: of two
    /// commands about one user the later holds, so no share takes the place of another. The users that got
    /// shares.
    pub(crate) fn catch_up(&self, command: &Command, delivery: &Delivery) -> Result<Vec<String>, StateError> {
        self.write(|tx| {
            if let Operation::Withdraw { sub } = &command.op {
                withdraw(tx, sub)?;
            }
            let mut taken = Vec::new();
            for (uid, shares) in &delivery.tka {
                if tx.get(USERS, uid)?.is_none() && tx.get(WITHDRAWN, uid)?.is_none() {
                    tx.put_json(USERS, uid, shares)?;
                    taken.push(uid.clone());
                }
            }
            Ok(taken)
        })
    }

    /// Aborts the prepared delivery: nothing remains of it.
    pub(crate) fn abort(&self) -> Result<(), StateError> {
        self.write(|tx| Ok(tx.remove(ABOUT, PREPARED).map(drop)?))
    }

    /// The tenant admin's newest announcement.
    pub(crate) fn announcement(&self) -> Result<Option<String>, StateError> {
        self.read(|view| Ok(view.get_json(ABOUT, ANNOUNCEMENT)?))
    }

    /// Puts an announcement in its place if `may_replace` it, or if there is none. Whether it was put.
    pub(crate) fn put_announcement(
        &self,
        jws: &str,
        may_replace: impl FnOnce(&str) -> bool,
    ) -> Result<bool, StateError> {
        self.write(|tx| {
            let newest: Option<String> = tx.get_json(ABOUT, ANNOUNCEMENT)?;
            let put = newest.is_none_or(|newest| may_replace(&newest));
            if put {
                tx.put_json(ABOUT, ANNOUNCEMENT, jws)?;
            }
            Ok(put)
        })
    }
}

/// Logs what happened; the peer learns only that something did.
pub(crate) fn internal(error: StateError) -> Problem {
    tracing::error!("{error}");
    match error {
        StateError::Store(error) if error.is_of_disk() => Problem::STORE,
        _ => Problem::INTERNAL,
    }
}

fn withdraw(tx: &mut Transaction<'_>, uid: &str) -> Result<(), StoreError> {
    tx.remove(USERS, uid)?;
    tx.put(WITHDRAWN, uid, &[])
}

fn whole<T>(found: Result<Option<T>, StoreError>) -> Result<T, StateError> {
    found?.ok_or(StateError::Incomplete)
}
