//! What of a tenant is put in escrow, and the tenant that comes back from there.

use super::history::Event;
use super::keyspace::Keyspace;
use super::{Proxy, Tenant, TenantError};
use std::collections::BTreeMap;
use trefoil_keys::escrow::{Endpoint, Payload};
use trefoil_keys::secret::TenantKey;
use trefoil_keys::signing::SigningKey;
use trefoil_keys::status::Status;
use zeroize::Zeroizing;

impl Tenant {
    /// What a new vault will need.
    pub(crate) fn escrow(&self) -> Result<Payload, TenantError> {
        let key =
            |keyspace: &Keyspace| TenantKey::from_bytes(Zeroizing::new(*keyspace.tenant_key.as_bytes()));
        let keys =
            self.keyspaces.iter().map(|(name, keyspace)| ((name.clone(), keyspace.epoch), key(keyspace)));
        let proxy = self.proxy.url.clone().zip(self.proxy.fingerprint);
        Ok(Payload {
            tenant: self.name.clone(),
            application: self.application.clone(),
            keys: keys.collect(),
            signing_key: SigningKey::from_seed(Zeroizing::new(*self.signing_key.seed()))?,
            receipt_key: self.proxy.receipt_key.clone(),
            proxy: proxy.map(|(url, fingerprint)| Endpoint { url, fingerprint }),
        })
    }

    /// The tenant of sheets of this set: without users, and without the proxy's envelope keys, which its
    /// status tells.
    pub(crate) fn recover(payload: Payload, set: String, now: u64) -> Self {
        let Payload { tenant, application, keys, signing_key, receipt_key, proxy: endpoint } = payload;
        let mut keyspaces = BTreeMap::new();
        // The newest epoch of a keyspace comes last.
        for ((name, epoch), tenant_key) in keys {
            keyspaces.insert(name, Keyspace { epoch, tenant_key });
        }
        let mut proxy = Proxy::new(receipt_key, Vec::new());
        if let Some(Endpoint { url, fingerprint }) = endpoint {
            proxy.url = Some(url);
            proxy.fingerprint = Some(fingerprint);
        }
        let mut tenant = Self::with_keys(tenant, application, keyspaces, signing_key, proxy);
        // Nobody knows the last serial. Those of the lost vault count from 1: none is as high as a time.
        tenant.announcements = now;
        tenant.record(now, Event::EscrowRecovered { set });
        tenant
    }

    /// Takes the envelope keys over that the proxy has signed, if it is this tenant's proxy.
    pub(crate) fn take_envelope_keys(&mut self, status: Status) -> Result<(), TenantError> {
        if status.tenant != self.name || status.application != self.application {
            return Err(TenantError::OtherTenant { tenant: status.tenant, application: status.application });
        }
        self.proxy.envelope_keys = status.envelope_keys;
        Ok(())
    }
}
