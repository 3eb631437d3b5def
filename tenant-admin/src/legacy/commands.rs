//! The old commands: each opens the vault, changes the tenant, stores the vault, and only then hands
//! something out, so that nothing leaves that the vault does not know of.

use super::output::{HistoryView, Outcome, UserView};
use super::tenant::{BundleKind, Tenant, TenantError, User};
use super::vault::{VaultError, VaultFile};
use super::{BundleCommand, Out};
use crate::secrets::{Passphrase, SecretError, Use};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};
use trefoil_keys::bundle::{self, Bundle, BundleError};

/// Why a command failed: what is wrong, and what to do about it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CommandError {
    #[error(transparent)]
    Secret(#[from] SecretError),
    #[error(transparent)]
    Vault(#[from] VaultError),
    #[error(transparent)]
    Tenant(#[from] TenantError),
    #[error("the bundle was not written, although the vault says that it was issued: {0}")]
    Bundle(#[from] BundleError),
    #[error(
        "{path} exists and is not a {kind} that could be replaced; choose another --out, or move it away"
    )]
    OutTaken { path: PathBuf, kind: &'static str },
    #[error("the system's clock is before 1970; set it")]
    Clock,
    #[error("there is no such command for this vault")]
    NewVault,
}

/// One run of the program.
pub(super) struct Session<'a> {
    vault: VaultFile,
    passphrase: &'a Passphrase,
    /// Seconds since 1970.
    now: u64,
}

impl<'a> Session<'a> {
    pub(super) fn new(
        vault: PathBuf,
        work_factor: Option<u8>,
        passphrase: &'a Passphrase,
    ) -> Result<Self, CommandError> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_err(|_| CommandError::Clock)?.as_secs();
        Ok(Self { vault: VaultFile::new(vault, work_factor), passphrase, now })
    }

    pub(super) fn bundle(&self, command: BundleCommand) -> Result<Outcome, CommandError> {
        match command {
            BundleCommand::User { uid, out: Out { out } } => {
                self.issue(&out, |tenant, now| tenant.issue_user_bundle(&uid, now))?;
                Ok(Outcome::BundleWritten { kind: BundleKind::User, user: Some(uid), file: out })
            }
            BundleCommand::Application { out: Out { out } } => {
                self.issue(&out, |tenant, now| Ok(tenant.issue_application_bundle(now)))?;
                Ok(Outcome::BundleWritten { kind: BundleKind::Application, user: None, file: out })
            }
            BundleCommand::Proxy { out: Out { out } } => {
                self.issue(&out, |tenant, now| Ok(tenant.issue_proxy_bundle(now)))?;
                Ok(Outcome::BundleWritten { kind: BundleKind::Proxy, user: None, file: out })
            }
        }
    }

    pub(super) fn create(&self, name: String, application: String) -> Result<Outcome, CommandError> {
        let lock = self.vault.lock()?;
        self.vault.require_none(&lock)?;
        let passphrase = self.passphrase.obtain(Use::New)?;
        let tenant = Tenant::create(name, application, self.now)?;
        let envelope_key_id = tenant.envelope_key_id()?;
        self.vault.store(&lock, &tenant, passphrase)?;
        Ok(Outcome::TenantCreated {
            keyspaces: tenant.epochs(),
            tenant: tenant.name,
            application: tenant.application,
            envelope_key_id,
            vault: self.vault.path().to_owned(),
        })
    }

    pub(super) fn add_users(&self, uids: &[String]) -> Result<Outcome, CommandError> {
        let [uid] = uids else { return Err(CommandError::NewVault) };
        let keyspaces = self.change(|tenant, now| tenant.add_user(uid, now).map(User::keyspaces))?;
        Ok(Outcome::UserAdded { user: uid.clone(), keyspaces })
    }

    pub(super) fn withdraw_users(&self, uids: &[String]) -> Result<Outcome, CommandError> {
        let [uid] = uids else { return Err(CommandError::NewVault) };
        self.change(|tenant, now| tenant.withdraw_user(uid, now))?;
        Ok(Outcome::UserWithdrawn { user: uid.clone() })
    }

    pub(super) fn show(&self, uid: Option<&str>) -> Result<Outcome, CommandError> {
        self.vault.require()?;
        let tenant = self.vault.load(self.passphrase.obtain(Use::Existing)?)?;
        let view = |uid: &str, user: &User| UserView {
            user: uid.to_owned(),
            state: user.state,
            keyspaces: user.keyspaces(),
            history: tenant.history_of(uid).map(HistoryView::from).collect(),
        };
        let users = match uid {
            Some(uid) => vec![view(uid, tenant.user(uid)?)],
            None => tenant.users().map(|(uid, user)| view(uid, user)).collect(),
        };
        Ok(Outcome::Users { users, tenant: tenant.name, application: tenant.application })
    }

    /// Makes a bundle, enters that in the vault, and writes the bundle to `out`.
    fn issue<B: Bundle>(
        &self,
        out: &Path,
        make: impl FnOnce(&mut Tenant, u64) -> Result<B, TenantError>,
    ) -> Result<(), CommandError> {
        require_replaceable::<B>(out)?;
        let bundle = self.change(make)?;
        Ok(bundle::write(out, &bundle)?)
    }

    /// Reads, changes and writes the vault; no other writer gets between. A failed change writes nothing.
    fn change<T>(
        &self,
        change: impl FnOnce(&mut Tenant, u64) -> Result<T, TenantError>,
    ) -> Result<T, CommandError> {
        self.vault.require()?;
        let lock = self.vault.lock()?;
        let passphrase = self.passphrase.obtain(Use::Existing)?;
        let mut tenant = self.vault.load(passphrase)?;
        let result = change(&mut tenant, self.now)?;
        self.vault.store(&lock, &tenant, passphrase)?;
        Ok(result)
    }
}

/// A slip of the hand in `--out` must not cost a vault, or another party's bundle.
fn require_replaceable<B: Bundle>(path: &Path) -> Result<(), CommandError> {
    match bundle::read::<B>(path) {
        Ok(_) => Ok(()),
        Err(BundleError::File(error)) if error.is_not_found() => Ok(()),
        Err(_) => Err(CommandError::OutTaken { path: path.to_owned(), kind: B::KIND }),
    }
}
