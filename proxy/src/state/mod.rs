//! What the proxy keeps, in one encrypted store: who it is, its keys, how far its bootstrap has come,
//! the users' TKp's, the commands it has applied, the databases it has seen.
//!
//! Invariant: whatever becomes visible to sessions was durable before; TK never gets here. A store that
//! the disk has closed is opened again by whoever needs it next, and sessions are shown what it holds
//! then: the write that failed may have happened.

mod record;

pub use record::{
    Bootstrap, Identity, OneTimePassword, SeenDatabase, Sequence, StoredKey, StoredReceipt, Trust,
};

use crate::shares::{Closed, EnvelopeKey, Keyring, Limits, Shares};
use record::{
    BOOTSTRAP, CERTIFICATE, CERTIFICATE_KEY, DATABASES, ENVELOPE_KEYS, IDENTITY, PROXY, RECEIPT_KEY,
    RECEIPTS, SEQUENCE, USERS,
};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;
use trefoil_keys::audit::Head;
use trefoil_keys::bundle::{self, CheckValue, PrivateKeyPem};
use trefoil_keys::envelope::{EnvelopeError, EnvelopePrivateKey, EnvelopePublicKey};
use trefoil_keys::lock::Lock;
use trefoil_keys::signing::{Claims, SigningError, SigningKey};
use trefoil_keys::status::{self, Status};
use trefoil_keys::store::{Store, StoreError, Transaction, View};
use trefoil_keys::tls::SelfSigned;
use zeroize::Zeroizing;

/// Receipts that are kept to be given again.
const RECEIPTS_KEPT: u64 = 1000;

/// Why the proxy's state cannot be used. Holds nothing of a secret; the messages are whole and have no source.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A record is not there.
    #[error(
        "the store has no record `{0}`: trefoil-proxy init was interrupted, or another release wrote it; \
         run trefoil-proxy init, or use that release"
    )]
    Incomplete(&'static str),
    /// One of the proxy's keys for envelopes.
    #[error("the store's key for envelopes: {0}")]
    Envelope(EnvelopeError),
    /// The key of receipts, or what it should sign.
    #[error("the store's key for receipts: {0}")]
    Signing(SigningError),
}

impl From<EnvelopeError> for StateError {
    fn from(error: EnvelopeError) -> Self {
        Self::Envelope(error)
    }
}

impl From<SigningError> for StateError {
    fn from(error: SigningError) -> Self {
        Self::Signing(error)
    }
}

/// What a new store is filled with.
pub struct NewState {
    /// Who the proxy is.
    pub identity: Identity,
    /// How its bootstrap begins.
    pub bootstrap: Bootstrap,
    /// The last command that it takes for applied.
    pub sequence: Sequence,
    /// Its key for envelopes.
    pub envelope_key: EnvelopePrivateKey,
    /// Its key for receipts.
    pub receipt_key: SigningKey,
    /// Its certificate, with the private key.
    pub certificate: SelfSigned,
}

/// The open store, with the shares that sessions use.
pub struct State {
    store: Store,
    identity: Identity,
    receipt_key: SigningKey,
    shares: Arc<Shares>,
}

/// Now, in seconds since 1970.
pub fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

impl State {
    /// Fills an empty store.
    pub fn fill(store: &Store, new: &NewState) -> Result<(), StateError> {
        let pem = new.envelope_key.to_pkcs8_pem()?;
        let keys = [StoredKey { key: PrivateKeyPem::new(pem), retires: None }];
        store.write(|tx| {
            tx.put_json(PROXY, IDENTITY, &new.identity)?;
            tx.put_json(PROXY, BOOTSTRAP, &new.bootstrap)?;
            tx.put_json(PROXY, SEQUENCE, &new.sequence)?;
            tx.put_json(PROXY, ENVELOPE_KEYS, &keys)?;
            tx.put(PROXY, RECEIPT_KEY, new.receipt_key.seed())?;
            tx.put(PROXY, CERTIFICATE, &new.certificate.certificate)?;
            Ok(tx.put(PROXY, CERTIFICATE_KEY, &new.certificate.private_key)?)
        })
    }

    /// How far the bootstrap in a store has come; none if the store was never filled.
    pub fn bootstrap_of(store: &Store) -> Result<Option<Bootstrap>, StateError> {
        store.read(|view| Ok(view.get_json(PROXY, BOOTSTRAP)?))
    }

    /// Opens the store in `directory` and loads what sessions use of it.
    pub fn open(directory: &Path, lock: &Lock, limits: Limits) -> Result<Self, StateError> {
        let store = Store::open(directory, lock)?;
        let shares = Shares::new(Keyring::closed(Closed::NotBootstrapped), limits);
        let (identity, receipt_key) = store.read(|view| {
            let identity = one(view, IDENTITY)?;
            let seed = view.get(PROXY, RECEIPT_KEY)?.ok_or(StateError::Incomplete(RECEIPT_KEY))?;
            let mut receipt_key = Zeroizing::new([0; 32]);
            match receipt_key.len() == seed.len() {
                true => receipt_key.copy_from_slice(&seed),
                false => return Err(StateError::Incomplete(RECEIPT_KEY)),
            }
            Ok((identity, SigningKey::from_seed(receipt_key)?))
        })?;
        let state = Self { store, identity, receipt_key, shares: Arc::new(shares) };
        state.read(|view| state.show(view))?;
        Ok(state)
    }

    /// Shows sessions all that the store holds for them.
    fn show(&self, view: &View<'_>) -> Result<(), StateError> {
        for entry in view.entries_json::<Option<bundle::Shares>>(USERS)? {
            let (user, held) = entry?;
            self.shares.set_user(&user, held);
        }
        self.show_keyring(view)
    }

    fn read<T>(&self, look: impl FnOnce(&View<'_>) -> Result<T, StateError>) -> Result<T, StateError> {
        self.store.mend(|view| self.show(view))?;
        self.store.read(look)
    }

    /// Why the store cannot be written, if its last write failed.
    pub fn fault(&self) -> Option<String> {
        match self.store.mend(|view| self.show(view)) {
            Err(error) => Some(self.store.fault().unwrap_or_else(|| error.to_string())),
            Ok(()) => self.store.fault(),
        }
    }

    /// Who the proxy is.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The shares that sessions use. They follow each change of the state.
    pub fn shares(&self) -> &Arc<Shares> {
        &self.shares
    }

    /// The certificate that was made with the store.
    pub fn certificate(&self) -> Result<SelfSigned, StateError> {
        self.read(|view| {
            let certificate = view.get(PROXY, CERTIFICATE)?.ok_or(StateError::Incomplete(CERTIFICATE))?;
            let key = view.get(PROXY, CERTIFICATE_KEY)?.ok_or(StateError::Incomplete(CERTIFICATE_KEY))?;
            Ok(SelfSigned { certificate: certificate.to_vec().into(), private_key: key })
        })
    }

    /// How far the bootstrap has come.
    pub fn bootstrap(&self) -> Result<Bootstrap, StateError> {
        self.read(|view| one(view, BOOTSTRAP))
    }

    /// Changes the bootstrap's state: what `change` says becomes durable, then visible to sessions.
    pub fn change_bootstrap<T>(
        &self,
        change: impl FnOnce(Bootstrap) -> (Bootstrap, T),
    ) -> Result<T, StateError> {
        let outcome = self.write(|tx| {
            let (after, outcome) = change(one(tx.view(), BOOTSTRAP)?);
            tx.put(BOOTSTRAP, &after)?;
            Ok(outcome)
        })?;
        self.refresh_keyring()?;
        Ok(outcome)
    }

    /// Signs claims of the proxy's own.
    pub fn sign<C: Claims>(&self, claims: &C) -> Result<String, StateError> {
        Ok(self.receipt_key.sign(claims)?)
    }

    /// The signed status, with the asker's nonce; `audit` is how far the audit log has come.
    pub fn status(&self, nonce: &str, audit: Option<Head>) -> Result<String, StateError> {
        let (bootstrap, sequence, keys) = self.read(|view| {
            let keys = stored_keys(view)?;
            Ok::<_, StateError>((one(view, BOOTSTRAP)?, one::<Sequence>(view, SEQUENCE)?, keys))
        })?;
        let (state, claim_sha256, tenant_key) = match bootstrap {
            Bootstrap::Open { .. } => (status::State::Open, None, None),
            Bootstrap::Claimed { claim_sha256, trust, .. } => {
                (status::State::Claimed, Some(claim_sha256), Some(trust.tenant_key))
            }
            Bootstrap::Ready { claim_sha256, trust } => {
                (status::State::Ready, claim_sha256, Some(trust.tenant_key))
            }
            Bootstrap::Burnt { .. } => (status::State::Burnt, None, None),
        };
        self.sign(&Status {
            tenant: self.identity.tenant.clone(),
            application: self.identity.application.clone(),
            nonce: nonce.to_owned(),
            at: now(),
            state,
            claim_sha256,
            seq: sequence.seq,
            last_command_sha256: (sequence.seq > 0).then_some(sequence.command_sha256),
            envelope_keys: public_keys(&keys),
            receipt_key: self.receipt_key.verifying_key().clone(),
            tenant_key,
            keyspaces: self.keyspaces(),
            audit,
        })
    }

    /// Epoch of TK by keyspace: those that the proxy was made with, and those that were added.
    pub fn keyspaces(&self) -> BTreeMap<String, u8> {
        let added = self.shares.check_values().into_iter().map(|(name, check)| (name, check.epoch));
        self.identity.keyspaces.clone().into_iter().chain(added).collect()
    }

    /// The public halves of the keys that count now, the current one first, and the key of receipts:
    /// what a hand-over names.
    pub fn public_keys(&self) -> Result<Vec<EnvelopePublicKey>, StateError> {
        Ok(public_keys(&self.read(stored_keys)?))
    }

    /// The key by which receipts are known.
    pub fn receipt_key(&self) -> &SigningKey {
        &self.receipt_key
    }

    /// The keys that open envelopes, the current one first; retired ones may be among them.
    pub fn envelope_keys(&self) -> Result<Vec<EnvelopeKey>, StateError> {
        self.read(stored_keys)
    }

    /// Lets `work` change the state: all of it, durably when this returns, or nothing.
    pub fn write<T>(
        &self,
        work: impl FnOnce(&mut Change<'_, '_>) -> Result<T, StateError>,
    ) -> Result<T, StateError> {
        self.store.mend(|view| self.show(view))?;
        self.store.write(|tx| work(&mut Change(tx)))
    }

    /// The last command that was applied.
    pub fn sequence(&self) -> Result<Sequence, StateError> {
        self.read(|view| one(view, SEQUENCE))
    }

    /// What was answered to the command of this number, if it is remembered.
    pub fn receipt(&self, seq: u64) -> Result<Option<StoredReceipt>, StateError> {
        self.read(|view| Ok(view.get_json(RECEIPTS, &receipt_name(seq))?))
    }

    /// A user: `None` if unknown, else the TKp's, or none of them for one that is withdrawn.
    pub fn user(&self, user: &str) -> Result<Option<Option<bundle::Shares>>, StateError> {
        self.read(|view| Ok(view.get_json(USERS, user)?))
    }

    /// Whether, and with which check values, the database of this oid was seen.
    pub fn seen(&self, oid: u32) -> Result<Option<SeenDatabase>, StateError> {
        self.read(|view| Ok(view.get_json(DATABASES, &oid.to_string())?))
    }

    /// Remembers a database.
    pub fn see(&self, oid: u32, seen: &SeenDatabase) -> Result<(), StateError> {
        self.write(|change| Ok(change.0.put_json(DATABASES, &oid.to_string(), seen)?))
    }

    /// Destroys the private keys that have retired. Until then they only stop to count.
    pub fn forget_retired_keys(&self) -> Result<(), StateError> {
        let keys = self.envelope_keys()?;
        if keys.iter().all(|key| key.is_current(now)) {
            return Ok(());
        }
        self.write(|change| {
            let keys = stored_keys(change.view())?;
            change.put_envelope_keys(&keys)
        })?;
        tracing::info!("a former key for envelopes has retired and is destroyed");
        self.refresh_keyring()
    }

    /// Shows sessions the keys, check values and applications that there are now.
    pub fn refresh_keyring(&self) -> Result<(), StateError> {
        self.read(|view| self.show_keyring(view))
    }

    fn show_keyring(&self, view: &View<'_>) -> Result<(), StateError> {
        let (bootstrap, keys) = (one(view, BOOTSTRAP)?, stored_keys(view)?);
        self.shares.set_keyring(match bootstrap {
            Bootstrap::Open { .. } | Bootstrap::Claimed { .. } => Keyring::closed(Closed::NotBootstrapped),
            Bootstrap::Burnt { .. } => Keyring::closed(Closed::Burnt),
            Bootstrap::Ready { trust, .. } => Keyring {
                closed: None,
                applications: [self.identity.application.clone()].into(),
                keys,
                check_values: trust.check_values,
            },
        });
        Ok(())
    }
}

/// A change of the state that is not durable yet.
pub struct Change<'t, 'a>(&'t mut Transaction<'a>);

impl Change<'_, '_> {
    fn view(&self) -> &View<'_> {
        self.0
    }

    fn put<T: serde::Serialize>(&mut self, name: &str, value: &T) -> Result<(), StateError> {
        Ok(self.0.put_json(PROXY, name, value)?)
    }

    /// Puts a user's TKp's in place of those before; none withdraws the user.
    pub fn put_user(&mut self, user: &str, shares: Option<&bundle::Shares>) -> Result<(), StateError> {
        Ok(self.0.put_json(USERS, user, &shares)?)
    }

    /// Adds a keyspace to those of the tenant that the proxy trusts.
    pub fn put_check_value(&mut self, name: &str, check: &CheckValue) -> Result<(), StateError> {
        let mut bootstrap: Bootstrap = one(self.view(), BOOTSTRAP)?;
        if let Bootstrap::Ready { trust, .. } = &mut bootstrap {
            trust.check_values.insert(name.to_owned(), check.clone());
        }
        self.put(BOOTSTRAP, &bootstrap)
    }

    /// Makes this the last command that was applied.
    pub fn put_sequence(&mut self, sequence: Sequence, receipt: &str) -> Result<(), StateError> {
        let Sequence { seq, command_sha256 } = sequence;
        self.put(SEQUENCE, &sequence)?;
        let stored = StoredReceipt { command_sha256, receipt: receipt.to_owned() };
        self.0.put_json(RECEIPTS, &receipt_name(seq), &stored)?;
        if let Some(old) = seq.checked_sub(RECEIPTS_KEPT) {
            self.0.remove(RECEIPTS, &receipt_name(old))?;
        }
        Ok(())
    }

    /// Puts keys for envelopes in place of those before, without those that have retired.
    pub fn put_envelope_keys(&mut self, keys: &[EnvelopeKey]) -> Result<(), StateError> {
        let keys: Vec<StoredKey> = keys
            .iter()
            .filter(|key| key.is_current(now))
            .map(|EnvelopeKey { key, retires }| {
                Ok(StoredKey { key: PrivateKeyPem::new(key.to_pkcs8_pem()?), retires: *retires })
            })
            .collect::<Result<_, StateError>>()?;
        self.put(ENVELOPE_KEYS, &keys)
    }
}

fn one<T: serde::de::DeserializeOwned>(view: &View<'_>, name: &'static str) -> Result<T, StateError> {
    view.get_json(PROXY, name)?.ok_or(StateError::Incomplete(name))
}

fn stored_keys(view: &View<'_>) -> Result<Vec<EnvelopeKey>, StateError> {
    let keys: Vec<StoredKey> = one(view, ENVELOPE_KEYS)?;
    keys.iter()
        .map(|StoredKey { key, retires }| {
            let key = Arc::new(EnvelopePrivateKey::from_pkcs8_pem(key.as_str())?);
            Ok(EnvelopeKey { key, retires: *retires })
        })
        .collect()
}

fn public_keys(keys: &[EnvelopeKey]) -> Vec<EnvelopePublicKey> {
    let current = keys.iter().filter(|key| key.is_current(now));
    current.map(|key| key.key.public_key().clone()).collect()
}

fn receipt_name(seq: u64) -> String {
    format!("{seq:020}")
}
