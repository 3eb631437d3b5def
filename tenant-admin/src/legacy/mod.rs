//! The commands of the first release, with vaults of version 1: `tenant create`, `bundle …`, and `user …` on
//! such a vault. For the test harness until it has moved to the bootstrap; then this directory goes,
//! and with it what `main.rs` and `commands.rs` say of it.

mod commands;
mod output;
mod tenant;
mod vault;

pub(crate) use commands::CommandError as LegacyError;

use crate::Command;
use crate::answer::Answer;
use crate::commands::{CommandError, Session};
use crate::secrets::Use;
use crate::tenant::parse_name;
use crate::users::{Change, UserCommand};
use crate::vault::VaultError;
use clap::{Args, Subcommand};
use std::path::PathBuf;

#[derive(Subcommand)]
pub(crate) enum TenantCommand {
    /// Make the tenant key, the proxy's envelope key, and a new vault for them.
    Create {
        /// The tenant's name.
        #[arg(value_parser = parse_name)]
        name: String,
        /// Id of the application whose users they are; envelopes name it.
        #[arg(long, value_name = "ID", value_parser = parse_name)]
        application: String,
    },
}

#[derive(Subcommand)]
pub(crate) enum BundleCommand {
    /// For one user's agent.
    User {
        /// The user's id (UId).
        #[arg(value_parser = parse_name)]
        uid: String,
        #[command(flatten)]
        out: Out,
    },
    /// For the application's shim.
    Application {
        #[command(flatten)]
        out: Out,
    },
    /// For the proxy.
    Proxy {
        #[command(flatten)]
        out: Out,
    },
}

/// Where a bundle goes.
#[derive(Args)]
pub(crate) struct Out {
    /// The file; an older bundle of the same kind is replaced, anything else is not.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

/// Whether a command is one of the old ones, or on an old vault.
pub(crate) fn takes(session: &Session, command: &Command) -> Result<bool, CommandError> {
    match command {
        Command::Tenant(_) | Command::Bundle(_) => Ok(true),
        Command::User(UserCommand::Add(_) | UserCommand::Withdraw(_) | UserCommand::Show { .. })
            if session.vault.path().exists() =>
        {
            let passphrase = session.passphrase.obtain(Use::Existing)?;
            Ok(matches!(session.vault.load(passphrase), Err(VaultError::Version { found: 1, .. })))
        }
        _ => Ok(false),
    }
}

/// Runs such a command.
pub(crate) fn run(
    session: &Session,
    command: Command,
    work_factor: Option<u8>,
) -> Result<Answer, LegacyError> {
    let old = commands::Session::new(session.vault.path().to_owned(), work_factor, &session.passphrase)?;
    let outcome = match command {
        Command::Tenant(TenantCommand::Create { name, application }) => old.create(name, application),
        Command::User(UserCommand::Add(Change { uids, .. })) => old.add_users(&uids),
        Command::User(UserCommand::Withdraw(Change { uids, .. })) => old.withdraw_users(&uids),
        Command::User(UserCommand::Show { uid }) => old.show(uid.as_deref()),
        Command::Bundle(command) => old.bundle(command),
        _ => Err(LegacyError::NewVault),
    };
    Ok(Answer::new(&outcome?))
}
