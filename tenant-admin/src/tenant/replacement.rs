//! Another proxy in the place of one that is lost or was set back. It serves the same TK, which it never
//! sees, and begins without users: a renewal gives it all of them, and their TKu's stay.

use super::history::{Digest, Event};
use super::{Proxy, Tenant, TenantError};
use trefoil_keys::appointment::Appointment;
use trefoil_keys::signing;
use trefoil_keys::status::{State, Status};
use trefoil_keys::tls::Fingerprint;

/// How long an appointment is good: time to set a machine up.
const VALIDITY: u64 = 7 * 24 * 3600;

/// What became of a proxy that was pinned.
pub(crate) enum Taken {
    /// It is the one that was known.
    Same,
    /// It has taken the place of another one; so many commands to that one were given up, whose users come
    /// with the renewal.
    Replaced { given_up: usize },
}

impl Tenant {
    /// Signs what a new proxy begins with: the numbers of all commands so far are used up there.
    pub(crate) fn appoint(&mut self, now: u64) -> Result<(Appointment, String), TenantError> {
        let appointment = Appointment {
            tenant: self.name.clone(),
            application: self.application.clone(),
            keyspaces: self.check_values(),
            tenant_key: self.signing_key.verifying_key().clone(),
            seq: self.next_seq().saturating_sub(1),
            iat: now,
            exp: now.saturating_add(VALIDITY),
        };
        let jws = self.signing_key.sign(&appointment)?;
        let event = Event::ProxyAppointed { seq: appointment.seq, appointment: Digest(signing::hash(&jws)) };
        self.record(now, event);
        Ok((appointment, jws))
    }

    /// Takes the proxy that shows this status, under the pinned certificate, for the tenant's.
    pub(crate) fn take_proxy(
        &mut self,
        status: Status,
        url: &str,
        fingerprint: Fingerprint,
        now: u64,
    ) -> Result<Taken, TenantError> {
        if status.tenant != self.name || status.application != self.application {
            return Err(TenantError::OtherTenant { tenant: status.tenant, application: status.application });
        }
        if status.state != State::Ready {
            return Err(TenantError::ProxyNotReady);
        }
        if status.tenant_key.as_ref() != Some(self.signing_key.verifying_key()) {
            return Err(TenantError::ProxyOfAnotherKey);
        }
        if status.keyspaces != self.epochs() {
            return Err(TenantError::ProxyOfOtherKeyspaces);
        }
        // Of a proxy that is behind, the numbers would come again, and commands of long ago with them.
        let ours = self.confirmed_seq();
        if status.seq < ours {
            return Err(TenantError::ProxyBehind { applied: status.seq, ours });
        }
        let same = status.receipt_key == self.proxy.receipt_key;
        let address = (Some(url.to_owned()), Some(fingerprint));
        let (url, fingerprint) = (url.to_owned(), fingerprint.to_string());
        if same {
            if self.proxy.envelope_keys.is_empty() {
                self.proxy.envelope_keys = status.envelope_keys;
            }
            (self.proxy.url, self.proxy.fingerprint) = address;
            self.record(now, Event::ProxySet { url, fingerprint });
            return Ok(Taken::Same);
        }
        if !self.replicas.is_empty() {
            return Err(TenantError::PairsOfFormerProxy);
        }
        let receipt_key = status.receipt_key.kid();
        self.proxy = Proxy::new(status.receipt_key, status.envelope_keys);
        (self.proxy.url, self.proxy.fingerprint) = address;
        self.record(now, Event::ProxyReplaced { url, fingerprint, receipt_key, seq: status.seq });
        let given_up = self.start_outbox_again(status.seq.saturating_add(1), now)?;
        self.begin_renewal_again(now);
        Ok(Taken::Replaced { given_up })
    }

    /// Number of the last command that the proxy has confirmed.
    pub(crate) fn confirmed_seq(&self) -> u64 {
        let first = self.first_pending().map_or(self.next_seq(), |pending| pending.seq());
        first.saturating_sub(1)
    }
}
