//! A tenant key with its epoch, and what is made of it: triples, halves of triples, check values.

use super::history::Event;
use super::outbox::Work;
use super::{Tenant, TenantError};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::BTreeMap;
use trefoil_keys::bundle::{CheckValue, IssuedShare, share_text};
use trefoil_keys::check;
use trefoil_keys::command::is_keyspace_name;
use trefoil_keys::secret::{Share, TenantKey};
use trefoil_keys::share::{self, Triple};
use zeroize::Zeroizing;

/// TK of one keyspace.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Keyspace {
    pub(crate) epoch: u8,
    #[serde(serialize_with = "tenant_key_to_text", deserialize_with = "tenant_key_from_text")]
    pub(crate) tenant_key: TenantKey,
}

/// The shares of one keyspace for one user, each with the epoch.
pub(crate) struct IssuedTriple {
    pub(crate) user: IssuedShare,
    pub(crate) application: IssuedShare,
    pub(crate) proxy: IssuedShare,
}

/// Of a keyspace that is new.
const FIRST_EPOCH: u8 = 1;

impl Keyspace {
    /// With a TK that nobody has.
    pub(crate) fn generate() -> Self {
        Self { epoch: FIRST_EPOCH, tenant_key: TenantKey::generate() }
    }

    /// A fresh triple.
    pub(crate) fn split(&self) -> IssuedTriple {
        self.issue(share::split(&self.tenant_key))
    }

    /// Fresh TKa and TKp beside the TKu that the user has.
    pub(crate) fn split_beside(&self, user: &Share) -> IssuedTriple {
        self.issue(share::split_beside(&self.tenant_key, user))
    }

    /// By which the proxy knows this TK.
    pub(crate) fn check_value(&self, name: &str) -> CheckValue {
        CheckValue { epoch: self.epoch, value: check::value(&self.tenant_key, name, self.epoch) }
    }

    fn issue(&self, Triple { user, application, proxy }: Triple) -> IssuedTriple {
        let [user, application, proxy] =
            [user, application, proxy].map(|share| IssuedShare { epoch: self.epoch, share });
        IssuedTriple { user, application, proxy }
    }
}

impl Tenant {
    /// Makes a keyspace, with a TK that is in this vault alone; the proxy hears what it is known by.
    pub(crate) fn add_keyspace(&mut self, name: &str, now: u64) -> Result<(), TenantError> {
        if !is_keyspace_name(name) {
            return Err(TenantError::KeyspaceName(name.to_owned()));
        }
        if self.keyspaces.contains_key(name) {
            return Err(TenantError::KeyspaceExists(name.to_owned()));
        }
        let keyspace = Keyspace::generate();
        let work = Work::AddKeyspace { name: name.to_owned(), check: keyspace.check_value(name) };
        let seq = self.queue(work, BTreeMap::new(), now)?;
        self.keyspaces.insert(name.to_owned(), keyspace);
        self.record(now, Event::KeyspaceAdded { seq, keyspace: name.to_owned() });
        Ok(())
    }
}

fn tenant_key_to_text<S: Serializer>(key: &TenantKey, serializer: S) -> Result<S::Ok, S::Error> {
    share_text::serialize(&Share::from_bytes(*key.as_bytes()), serializer)
}

fn tenant_key_from_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<TenantKey, D::Error> {
    let bytes = share_text::deserialize(deserializer)?;
    Ok(TenantKey::from_bytes(Zeroizing::new(*bytes.as_bytes())))
}
