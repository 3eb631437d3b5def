//! What a new proxy learns from the tenant admin's appointment.
//!
//! Invariant: the numbers of all commands that the tenant admin had signed until then are used up here, so
//! that none of those can be replayed to the new proxy.

use crate::state::{Identity, Sequence, Trust};
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use trefoil_keys::appointment::Appointment;
use trefoil_keys::bundle::Version;
use trefoil_keys::signing::{self, Claims, SigningError};

/// How far the tenant admin's clock may be ahead, in seconds.
const SKEW: u64 = 60;

/// Why an appointment makes no proxy. The messages are whole and have no source.
#[derive(Debug, thiserror::Error)]
pub enum AppointmentError {
    /// The file.
    #[error("cannot read {0}: {1}")]
    Read(PathBuf, io::Error),
    /// What stands in it.
    #[error(
        "{0} is no appointment, or was altered ({1}); have it written again: trefoil-admin proxy appoint"
    )]
    Rejected(PathBuf, SigningError),
    /// Too late.
    #[error("{0} has expired; have it written again: trefoil-admin proxy appoint")]
    Expired(PathBuf),
    /// Too early.
    #[error("{0} is from the future; compare the clocks of this machine and the tenant admin's")]
    Future(PathBuf),
    /// Not what the flags say.
    #[error("{path} is for tenant {tenant}, application {application}, and not for those of the flags")]
    Other {
        /// The file.
        path: PathBuf,
        /// In it.
        tenant: String,
        /// In it.
        application: String,
    },
}

/// A proxy's beginning, without its own keys.
pub(super) struct Appointed {
    pub(super) identity: Identity,
    pub(super) trust: Trust,
    pub(super) sequence: Sequence,
}

impl Appointed {
    /// Reads an appointment, which must be for this tenant and application as far as they are given.
    pub(super) fn read(
        path: &Path,
        (tenant, application): (Option<&str>, Option<&str>),
        now: u64,
    ) -> Result<Self, AppointmentError> {
        let jws = text(path).map_err(|error| AppointmentError::Read(path.to_owned(), error))?;
        let jws = jws.trim_end();
        let appointment = Appointment::introduce(jws)
            .map_err(|error| AppointmentError::Rejected(path.to_owned(), error))?;
        if appointment.iat > now.saturating_add(SKEW) {
            return Err(AppointmentError::Future(path.to_owned()));
        }
        if appointment.exp <= now {
            return Err(AppointmentError::Expired(path.to_owned()));
        }
        let own = |given: Option<&str>, named: &str| given.is_none_or(|given| given == named);
        if !own(tenant, &appointment.tenant) || !own(application, &appointment.application) {
            let Appointment { tenant, application, .. } = appointment;
            return Err(AppointmentError::Other { path: path.to_owned(), tenant, application });
        }
        let Appointment { tenant, application, keyspaces, tenant_key, seq, .. } = appointment;
        let epochs = keyspaces.iter().map(|(name, check)| (name.clone(), check.epoch)).collect();
        let sequence = match seq {
            0 => Sequence::default(),
            // No command has this hash, so none up to this number is ever found applied.
            seq => Sequence { seq, command_sha256: signing::hash(jws) },
        };
        Ok(Self {
            identity: Identity { version: Version, tenant, application, keyspaces: epochs },
            trust: Trust { check_values: keyspaces, tenant_key },
            sequence,
        })
    }

    /// The thumbprint of the key that signed it, for people to compare.
    pub(super) fn tenant_key(&self) -> String {
        self.trust.tenant_key.kid()
    }
}

/// The file comes from outside: it may have any size.
fn text(path: &Path) -> io::Result<String> {
    let limit = u64::try_from(Appointment::MAX_LENGTH).unwrap_or(u64::MAX).saturating_add(2);
    let mut text = String::new();
    File::open(path)?.take(limit).read_to_string(&mut text)?;
    Ok(text)
}
