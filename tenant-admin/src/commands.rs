//! One run of the program: opens the vault, changes the tenant, stores the vault, and only then hands
//! something out, so that nothing leaves that the vault does not know of.

use crate::answer::Answer;
use crate::content::{Content, Stage};
use crate::tenant::{Tenant, TenantError};
use crate::vault::{Lock, VaultError, VaultFile};
use crate::{
    Command, Options, application, audit, backup, bootstrap, decrypt, deliver, escrow, grant, handover,
    keyspace, outbox, password_hash, proxy, proxy_key, push, renewal, roles, status, users,
};
use std::time::{SystemTime, UNIX_EPOCH};
use trefoil_passphrase::{Passphrase, SecretError, SecretString, Use};

/// Why a command failed: what is wrong, and what to do about it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CommandError {
    #[error(transparent)]
    Secret(#[from] SecretError),
    #[error(transparent)]
    Vault(#[from] VaultError),
    #[error(transparent)]
    Tenant(#[from] TenantError),
    #[error(transparent)]
    Bootstrap(#[from] bootstrap::BootstrapError),
    #[error(transparent)]
    Handover(#[from] handover::HandoverError),
    #[error(transparent)]
    Application(#[from] application::ApplicationError),
    #[error(transparent)]
    Users(#[from] users::UsersError),
    #[error(transparent)]
    Outbox(#[from] outbox::OutboxError),
    #[error(transparent)]
    Proxy(#[from] proxy::ProxyError),
    #[error(transparent)]
    ProxyKey(#[from] proxy_key::ProxyKeyError),
    #[error(transparent)]
    Push(#[from] push::PushError),
    #[error(transparent)]
    Deliver(#[from] deliver::DeliverError),
    #[error(transparent)]
    Status(#[from] status::StatusError),
    #[error(transparent)]
    Audit(#[from] audit::AuditError),
    #[error(transparent)]
    Escrow(#[from] escrow::SheetsError),
    #[error(transparent)]
    Backup(#[from] backup::BackupError),
    #[error(transparent)]
    Decrypt(#[from] decrypt::DecryptError),
    #[error("the bootstrap of this vault is not finished; run again: trefoil-admin bootstrap")]
    NotBootstrapped,
    #[error("this vault waits for the proxy's hand-over; take it with: trefoil-admin handover accept FILE")]
    AwaitsHandover,
    #[error("the system's clock is before 1970; set it")]
    Clock,
}

/// Runs one command.
pub(crate) fn run(options: Options, command: Command) -> Result<Answer, CommandError> {
    let session = Session {
        vault: VaultFile::new(options.vault, options.work_factor),
        passphrase: Passphrase::new("the vault", options.passphrase_fd),
    };
    match command {
        Command::Bootstrap(arguments) => bootstrap::run(&session, arguments),
        Command::Handover(command) => handover::run(&session, command),
        Command::Application(command) => application::run(&session, command),
        Command::User(command) => users::run(&session, command),
        Command::Keyspace(command) => keyspace::run(&session, command),
        Command::Grant(arguments) => grant::grant(&session, arguments),
        Command::Revoke(arguments) => grant::revoke(&session, arguments),
        Command::Role(command) => roles::run(&session, command),
        Command::RenewShares(arguments) => renewal::run(&session, &arguments),
        Command::Proxy(command) => proxy::run(&session, command),
        Command::ProxyKey(command) => proxy_key::run(&session, command),
        Command::Push(arguments) => push::run(&session, &arguments),
        Command::Deliver(arguments) => deliver::run(&arguments),
        Command::Status(arguments) => status::run(&session, &arguments),
        Command::Audit(command) => audit::run(&session, &command),
        Command::Escrow(command) => escrow::run(&session, command),
        Command::PasswordHash(arguments) => password_hash::run(&arguments),
        Command::Vault(command) => backup::run(&session, command),
        Command::Decrypt(arguments) => {
            let keys = match arguments.escrow() {
                [] => session.read()?.into_keys(),
                sheets => escrow::keys(sheets)?,
            };
            decrypt::run(&arguments, keys, options.json)?;
            Ok(Answer::told())
        }
        Command::Outbox(arguments) => outbox::run(&session, arguments),
        Command::Receipt(arguments) => outbox::receive(&session, &arguments),
    }
}

/// Seconds since 1970.
pub(crate) fn now() -> Result<u64, CommandError> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH).map_err(|_| CommandError::Clock)?.as_secs())
}

/// What all commands of one run share.
pub(crate) struct Session {
    pub(crate) vault: VaultFile,
    pub(crate) passphrase: Passphrase,
}

impl Session {
    /// Opens the vault to change it: no other writer gets in until this is dropped.
    pub(crate) fn open(&self) -> Result<Opened<'_>, CommandError> {
        self.vault.require()?;
        let lock = self.vault.lock()?;
        let passphrase = self.passphrase.obtain(Use::Existing)?;
        let content = self.vault.load(passphrase)?;
        Ok(Opened { vault: &self.vault, lock, passphrase, content })
    }

    /// Makes a new vault; fails if there is one.
    pub(crate) fn create(&self, stage: Stage) -> Result<Opened<'_>, CommandError> {
        let lock = self.vault.lock()?;
        self.vault.require_none(&lock)?;
        let passphrase = self.passphrase.obtain(Use::New)?;
        let content = Content::new(stage);
        self.vault.store(&lock, &content, passphrase)?;
        Ok(Opened { vault: &self.vault, lock, passphrase, content })
    }

    /// The tenant as the vault has it, to look at.
    pub(crate) fn read(&self) -> Result<Tenant, CommandError> {
        self.vault.require()?;
        match self.vault.load(self.passphrase.obtain(Use::Existing)?)?.stage {
            Stage::Ready(tenant) => Ok(tenant),
            other => Err(unready(&other)),
        }
    }

    /// Reads, changes and writes the vault. A failed change writes nothing.
    pub(crate) fn change<T, E: Into<CommandError>>(
        &self,
        change: impl FnOnce(&mut Tenant, u64) -> Result<T, E>,
    ) -> Result<T, CommandError> {
        let mut opened = self.open()?;
        let result = change(opened.tenant()?, now()?).map_err(Into::into)?;
        opened.store()?;
        Ok(result)
    }
}

/// A vault that is open for writing.
pub(crate) struct Opened<'a> {
    vault: &'a VaultFile,
    lock: Lock,
    passphrase: &'a SecretString,
    pub(crate) content: Content,
}

impl Opened<'_> {
    /// The tenant, once there is one.
    pub(crate) fn tenant(&mut self) -> Result<&mut Tenant, CommandError> {
        match &mut self.content.stage {
            Stage::Ready(tenant) => Ok(tenant),
            other => Err(unready(other)),
        }
    }

    /// Makes all changes so far durable.
    pub(crate) fn store(&self) -> Result<(), CommandError> {
        self.store_under(self.passphrase)
    }

    /// The same, under another passphrase.
    pub(crate) fn store_under(&self, passphrase: &SecretString) -> Result<(), CommandError> {
        Ok(self.vault.store(&self.lock, &self.content, passphrase)?)
    }
}

fn unready(stage: &Stage) -> CommandError {
    match stage {
        Stage::Awaiting(_) => CommandError::AwaitsHandover,
        _ => CommandError::NotBootstrapped,
    }
}
