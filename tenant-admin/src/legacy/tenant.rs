//! A tenant: its keys, its users with their shares, and what was issued when. This is what the vault
//! holds; nothing here reads or writes files.
//!
//! Invariant: a withdrawn user's shares are in no bundle, and its UId never comes back.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::{BTreeMap, BTreeSet};
use trefoil_keys::bundle::{
    ApplicationBundle, CheckValue, IssuedShare, PrivateKeyPem, ProxyBundle, Shares, UserBundle, Version,
    share_text,
};
use trefoil_keys::check;
use trefoil_keys::envelope::{EnvelopeError, EnvelopePrivateKey};
use trefoil_keys::secret::{Share, TenantKey};
use trefoil_keys::share::{self, Triple};
use zeroize::Zeroizing;

/// The keyspace that every tenant has.
const MAIN: &str = "main";
const FIRST_EPOCH: u8 = 1;

/// Why the tenant cannot be changed so, or a bundle not be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TenantError {
    #[error("user {0} exists already; its bundle is written by: trefoil-admin bundle user {0} --out FILE")]
    UserExists(String),
    #[error("user {0} was withdrawn, and a UId is never given out twice; add the person under another UId")]
    UidUsed(String),
    #[error("there is no user {0}; all users are shown by: trefoil-admin user show")]
    UserUnknown(String),
    #[error("user {0} was withdrawn; nothing is issued to it any more")]
    UserWithdrawn(String),
    #[error("user {0} is withdrawn already")]
    AlreadyWithdrawn(String),
    #[error("the proxy's envelope key: {0}")]
    EnvelopeKey(#[from] EnvelopeError),
}

/// All that the tenant admin knows.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Tenant {
    version: Version,
    pub(crate) name: String,
    pub(crate) application: String,
    keyspaces: BTreeMap<String, Keyspace>,
    envelope_key: PrivateKeyPem,
    users: BTreeMap<String, User>,
    history: Vec<Entry>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Keyspace {
    epoch: u8,
    #[serde(serialize_with = "tenant_key_to_text", deserialize_with = "tenant_key_from_text")]
    tenant_key: TenantKey,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct User {
    pub(crate) state: State,
    shares: BTreeMap<String, IssuedTriple>,
}

/// Whether a user has access.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum State {
    Active,
    Withdrawn,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct IssuedTriple {
    epoch: u8,
    #[serde(with = "share_text")]
    user: Share,
    #[serde(with = "share_text")]
    application: Share,
    #[serde(with = "share_text")]
    proxy: Share,
}

/// One line of the history.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Entry {
    /// Seconds since 1970.
    pub(crate) at: u64,
    pub(crate) event: Event,
}

/// What happened.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Event {
    TenantCreated,
    UserAdded {
        user: String,
        /// Granted keyspaces, with the epochs of their shares.
        keyspaces: BTreeMap<String, u8>,
    },
    UserWithdrawn {
        user: String,
    },
    BundleIssued {
        kind: BundleKind,
        /// Whose shares were in it.
        users: BTreeSet<String>,
    },
}

impl Event {
    fn concerns(&self, uid: &str) -> bool {
        match self {
            Self::TenantCreated => false,
            Self::UserAdded { user, .. } | Self::UserWithdrawn { user } => user == uid,
            Self::BundleIssued { users, .. } => users.contains(uid),
        }
    }
}

/// For whom a bundle is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum BundleKind {
    User,
    Application,
    Proxy,
}

impl Tenant {
    /// A tenant with fresh keys and without users. Making the RSA key takes seconds.
    pub(crate) fn create(name: String, application: String, now: u64) -> Result<Self, TenantError> {
        let main = Keyspace { epoch: FIRST_EPOCH, tenant_key: TenantKey::generate() };
        let envelope_key = EnvelopePrivateKey::generate()?;
        Ok(Self {
            version: Version,
            name,
            application,
            keyspaces: BTreeMap::from([(MAIN.to_owned(), main)]),
            envelope_key: PrivateKeyPem::new(envelope_key.to_pkcs8_pem()?),
            users: BTreeMap::new(),
            history: vec![Entry { at: now, event: Event::TenantCreated }],
        })
    }

    /// Grants a new user every keyspace, each by a fresh triple.
    pub(crate) fn add_user(&mut self, uid: &str, now: u64) -> Result<&User, TenantError> {
        match self.users.get(uid).map(|user| user.state) {
            Some(State::Active) => return Err(TenantError::UserExists(uid.to_owned())),
            Some(State::Withdrawn) => return Err(TenantError::UidUsed(uid.to_owned())),
            None => {}
        }
        let shares = self.keyspaces.iter().map(|(name, keyspace)| (name.clone(), keyspace.split())).collect();
        let user = User { state: State::Active, shares };
        let event = Event::UserAdded { user: uid.to_owned(), keyspaces: user.keyspaces() };
        self.history.push(Entry { at: now, event });
        Ok(self.users.entry(uid.to_owned()).or_insert(user))
    }

    /// Takes the user out of all bundles to come. It keeps its access until the proxy has its new one.
    pub(crate) fn withdraw_user(&mut self, uid: &str, now: u64) -> Result<(), TenantError> {
        let user = self.users.get_mut(uid).ok_or_else(|| TenantError::UserUnknown(uid.to_owned()))?;
        if user.state == State::Withdrawn {
            return Err(TenantError::AlreadyWithdrawn(uid.to_owned()));
        }
        user.state = State::Withdrawn;
        self.history.push(Entry { at: now, event: Event::UserWithdrawn { user: uid.to_owned() } });
        Ok(())
    }

    /// The user, withdrawn or not.
    pub(crate) fn user(&self, uid: &str) -> Result<&User, TenantError> {
        self.users.get(uid).ok_or_else(|| TenantError::UserUnknown(uid.to_owned()))
    }

    /// All users, withdrawn ones too, by UId.
    pub(crate) fn users(&self) -> impl Iterator<Item = (&str, &User)> {
        self.users.iter().map(|(uid, user)| (uid.as_str(), user))
    }

    /// What happened to the user, oldest first.
    pub(crate) fn history_of(&self, uid: &str) -> impl Iterator<Item = &Entry> {
        self.history.iter().filter(move |entry| entry.event.concerns(uid))
    }

    /// JWK thumbprint of the proxy's envelope key.
    pub(crate) fn envelope_key_id(&self) -> Result<String, TenantError> {
        Ok(self.open_envelope_key()?.public_key().kid().to_owned())
    }

    /// Current epochs by keyspace.
    pub(crate) fn epochs(&self) -> BTreeMap<String, u8> {
        self.keyspaces.iter().map(|(name, keyspace)| (name.clone(), keyspace.epoch)).collect()
    }

    /// TKu's and the proxy's public key. Issuing is entered in the history.
    pub(crate) fn issue_user_bundle(&mut self, uid: &str, now: u64) -> Result<UserBundle, TenantError> {
        let user = self.user(uid)?;
        if user.state == State::Withdrawn {
            return Err(TenantError::UserWithdrawn(uid.to_owned()));
        }
        let bundle = UserBundle {
            version: Version,
            tenant: self.name.clone(),
            user: uid.to_owned(),
            audience: self.application.clone(),
            envelope_key: self.open_envelope_key()?.public_key().to_jwk(),
            announcement_key: None,
            announcement_serial: 0,
            shares: user.parts(|triple| &triple.user),
        };
        self.record_issue(BundleKind::User, [uid.to_owned()].into(), now);
        Ok(bundle)
    }

    /// TKa's of the active users. Issuing is entered in the history.
    pub(crate) fn issue_application_bundle(&mut self, now: u64) -> ApplicationBundle {
        let bundle = ApplicationBundle {
            version: Version,
            tenant: self.name.clone(),
            application: self.application.clone(),
            users: self.active_parts(|triple| &triple.application),
        };
        self.record_issue(BundleKind::Application, bundle.users.keys().cloned().collect(), now);
        bundle
    }

    /// TKp's of the active users, check values, the key that opens envelopes, and who was withdrawn.
    /// Issuing is entered in the history.
    pub(crate) fn issue_proxy_bundle(&mut self, now: u64) -> ProxyBundle {
        let bundle = ProxyBundle {
            version: Version,
            tenant: self.name.clone(),
            applications: [self.application.clone()].into(),
            envelope_keys: vec![self.envelope_key.duplicate()],
            check_values: self
                .keyspaces
                .iter()
                .map(|(name, keyspace)| (name.clone(), keyspace.check(name)))
                .collect(),
            users: self.active_parts(|triple| &triple.proxy),
            withdrawn: self.with_state(State::Withdrawn).map(|(uid, _)| uid.clone()).collect(),
        };
        self.record_issue(BundleKind::Proxy, bundle.users.keys().cloned().collect(), now);
        bundle
    }

    fn record_issue(&mut self, kind: BundleKind, users: BTreeSet<String>, now: u64) {
        self.history.push(Entry { at: now, event: Event::BundleIssued { kind, users } });
    }

    fn with_state(&self, state: State) -> impl Iterator<Item = (&String, &User)> {
        self.users.iter().filter(move |(_, user)| user.state == state)
    }

    fn active_parts(&self, part: fn(&IssuedTriple) -> &Share) -> BTreeMap<String, Shares> {
        self.with_state(State::Active).map(|(uid, user)| (uid.clone(), user.parts(part))).collect()
    }

    fn open_envelope_key(&self) -> Result<EnvelopePrivateKey, EnvelopeError> {
        EnvelopePrivateKey::from_pkcs8_pem(self.envelope_key.as_str())
    }
}

impl Keyspace {
    fn split(&self) -> IssuedTriple {
        let Triple { user, application, proxy } = share::split(&self.tenant_key);
        IssuedTriple { epoch: self.epoch, user, application, proxy }
    }

    fn check(&self, name: &str) -> CheckValue {
        CheckValue { epoch: self.epoch, value: check::value(&self.tenant_key, name, self.epoch) }
    }
}

impl User {
    /// Granted keyspaces, with the epochs of their shares.
    pub(crate) fn keyspaces(&self) -> BTreeMap<String, u8> {
        self.shares.iter().map(|(keyspace, triple)| (keyspace.clone(), triple.epoch)).collect()
    }

    fn parts(&self, part: fn(&IssuedTriple) -> &Share) -> Shares {
        let issued =
            |triple: &IssuedTriple| IssuedShare { epoch: triple.epoch, share: part(triple).duplicate() };
        self.shares.iter().map(|(keyspace, triple)| (keyspace.clone(), issued(triple))).collect()
    }
}

fn tenant_key_to_text<S: Serializer>(key: &TenantKey, serializer: S) -> Result<S::Ok, S::Error> {
    share_text::serialize(&Share::from_bytes(*key.as_bytes()), serializer)
}

fn tenant_key_from_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<TenantKey, D::Error> {
    let bytes = share_text::deserialize(deserializer)?;
    Ok(TenantKey::from_bytes(Zeroizing::new(*bytes.as_bytes())))
}
