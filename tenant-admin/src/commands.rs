//! The commands: each opens the vault, changes the tenant, stores the vault, and only then hands
//! something out, so that nothing leaves that the vault does not know of.

use crate::decrypt::{self, DecryptError, DecryptOptions};
use crate::output::{HistoryView, Outcome, UserView};
use crate::passphrase::{self, PassphraseError, Use};
use crate::tenant::{BundleKind, Tenant, TenantError, User};
use crate::vault::{VaultError, VaultFile};
use crate::{BundleCommand, Command, Options, Out, TenantCommand, UserCommand};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};
use trefoil_keys::bundle::{self, Bundle, BundleError};

/// Why a command failed: what is wrong, and what to do about it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CommandError {
    #[error(transparent)]
    Passphrase(#[from] PassphraseError),
    #[error(transparent)]
    Vault(#[from] VaultError),
    #[error(transparent)]
    Tenant(#[from] TenantError),
    #[error(transparent)]
    Decrypt(#[from] DecryptError),
    #[error("the bundle was not written, although the vault says that it was issued: {0}")]
    Bundle(#[from] BundleError),
    #[error(
        "{path} exists and is not a {kind} that could be replaced; choose another --out, or move it away"
    )]
    OutTaken { path: PathBuf, kind: &'static str },
    #[error("the system's clock is before 1970; set it")]
    Clock,
}

/// Runs one command; `None` is an outcome that has told of itself.
pub(crate) fn run(options: Options, command: Command) -> Result<Option<Outcome>, CommandError> {
    let session = Session {
        vault: VaultFile::new(options.vault, options.work_factor),
        passphrase_fd: options.passphrase_fd,
        now: SystemTime::now().duration_since(UNIX_EPOCH).map_err(|_| CommandError::Clock)?.as_secs(),
    };
    let outcome = match command {
        Command::Decrypt(decrypt) => {
            session.decrypt(&decrypt, options.json)?;
            return Ok(None);
        }
        Command::Tenant(TenantCommand::Create { name, application }) => session.create(name, application),
        Command::User(UserCommand::Add { uid }) => session.add_user(uid),
        Command::User(UserCommand::Withdraw { uid }) => session.withdraw_user(uid),
        Command::User(UserCommand::Show { uid }) => session.show(uid.as_deref()),
        Command::Bundle(BundleCommand::User { uid, out: Out { out } }) => {
            session.issue(&out, |tenant, now| tenant.issue_user_bundle(&uid, now))?;
            Ok(Outcome::BundleWritten { kind: BundleKind::User, user: Some(uid), file: out })
        }
        Command::Bundle(BundleCommand::Application { out: Out { out } }) => {
            session.issue(&out, |tenant, now| Ok(tenant.issue_application_bundle(now)))?;
            Ok(Outcome::BundleWritten { kind: BundleKind::Application, user: None, file: out })
        }
        Command::Bundle(BundleCommand::Proxy { out: Out { out } }) => {
            session.issue(&out, |tenant, now| Ok(tenant.issue_proxy_bundle(now)))?;
            Ok(Outcome::BundleWritten { kind: BundleKind::Proxy, user: None, file: out })
        }
    };
    outcome.map(Some)
}

/// One run of the program.
struct Session {
    vault: VaultFile,
    passphrase_fd: Option<u32>,
    /// Seconds since 1970.
    now: u64,
}

impl Session {
    fn create(&self, name: String, application: String) -> Result<Outcome, CommandError> {
        let lock = self.vault.lock()?;
        self.vault.require_none(&lock)?;
        let passphrase = passphrase::obtain(self.passphrase_fd, Use::New)?;
        let tenant = Tenant::create(name, application, self.now)?;
        let envelope_key_id = tenant.envelope_key_id()?;
        self.vault.store(&lock, &tenant, &passphrase)?;
        Ok(Outcome::TenantCreated {
            keyspaces: tenant.epochs(),
            tenant: tenant.name,
            application: tenant.application,
            envelope_key_id,
            vault: self.vault.path().to_owned(),
        })
    }

    /// Decrypts a dump by the vault's tenant keys.
    fn decrypt(&self, options: &DecryptOptions, json: bool) -> Result<(), CommandError> {
        self.vault.require()?;
        let tenant = self.vault.load(&passphrase::obtain(self.passphrase_fd, Use::Existing)?)?;
        Ok(decrypt::run(options, tenant.into_keys(), json)?)
    }

    fn add_user(&self, uid: String) -> Result<Outcome, CommandError> {
        let keyspaces = self.change(|tenant, now| tenant.add_user(&uid, now).map(User::keyspaces))?;
        Ok(Outcome::UserAdded { user: uid, keyspaces })
    }

    fn withdraw_user(&self, uid: String) -> Result<Outcome, CommandError> {
        self.change(|tenant, now| tenant.withdraw_user(&uid, now))?;
        Ok(Outcome::UserWithdrawn { user: uid })
    }

    fn show(&self, uid: Option<&str>) -> Result<Outcome, CommandError> {
        self.vault.require()?;
        let tenant = self.vault.load(&passphrase::obtain(self.passphrase_fd, Use::Existing)?)?;
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
        let passphrase = passphrase::obtain(self.passphrase_fd, Use::Existing)?;
        let mut tenant = self.vault.load(&passphrase)?;
        let result = change(&mut tenant, self.now)?;
        self.vault.store(&lock, &tenant, &passphrase)?;
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
