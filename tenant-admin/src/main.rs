//! `trefoil-admin`: the tenant's side of Trefoil. Keeps the tenant key in a vault, grants and withdraws
//! users, and writes the bundles that user, application and proxy need. Works offline.

mod commands;
mod decrypt;
mod output;
mod passphrase;
mod tenant;
mod vault;

use clap::{Args, Parser, Subcommand};
use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};
use std::path::PathBuf;
use std::process::ExitCode;

/// Keeps a tenant's keys and users, and issues their shares.
///
/// The vault's passphrase comes from --passphrase-fd, else from the environment variable
/// TREFOIL_PASSPHRASE, else from a prompt.
#[derive(Parser)]
#[command(name = "trefoil-admin", version)]
struct Arguments {
    #[command(flatten)]
    options: Options,
    #[command(subcommand)]
    command: Command,
}

/// What every command takes.
#[derive(Args)]
struct Options {
    /// The vault: one file, encrypted under the passphrase.
    #[arg(long, global = true, env = "TREFOIL_VAULT", value_name = "FILE", default_value = "trefoil.vault")]
    vault: PathBuf,
    /// Answer in JSON (errors too, on standard error).
    #[arg(long, global = true)]
    json: bool,
    /// Read the passphrase from this file descriptor, up to the end of the line.
    #[arg(long, global = true, value_name = "N")]
    passphrase_fd: Option<u32>,
    /// scrypt's log2(N), for tests alone: without it, about one second of work is chosen.
    #[arg(long, global = true, hide = true, value_name = "LOG2_N", value_parser = clap::value_parser!(u8).range(1..=i64::from(vault::MAX_WORK_FACTOR)))]
    work_factor: Option<u8>,
}

#[derive(Subcommand)]
enum Command {
    /// The tenant.
    #[command(subcommand)]
    Tenant(TenantCommand),
    /// The tenant's users.
    #[command(subcommand)]
    User(UserCommand),
    /// Write what one party needs to a file that only its owner may read.
    #[command(subcommand)]
    Bundle(BundleCommand),
    /// Turn a dump of a protected database back into plaintext, without a proxy.
    Decrypt(decrypt::DecryptOptions),
}

#[derive(Subcommand)]
enum TenantCommand {
    /// Make the tenant key, the proxy's envelope key, and a new vault for them.
    Create {
        /// The tenant's name.
        #[arg(value_parser = tenant::parse_name)]
        name: String,
        /// Id of the application whose users they are; envelopes name it.
        #[arg(long, value_name = "ID", value_parser = tenant::parse_name)]
        application: String,
    },
}

#[derive(Subcommand)]
enum UserCommand {
    /// Grant a new user access.
    Add {
        /// The user's id (UId).
        #[arg(value_parser = tenant::parse_name)]
        uid: String,
    },
    /// Take a user's access away, for good.
    Withdraw {
        /// The user's id (UId).
        #[arg(value_parser = tenant::parse_name)]
        uid: String,
    },
    /// Show one user, or all.
    Show {
        /// The user's id (UId).
        #[arg(value_parser = tenant::parse_name)]
        uid: Option<String>,
    },
}

#[derive(Subcommand)]
enum BundleCommand {
    /// For one user's agent.
    User {
        /// The user's id (UId).
        #[arg(value_parser = tenant::parse_name)]
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
struct Out {
    /// The file; an older bundle of the same kind is replaced, anything else is not.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

/// No core file, and no other process of the same user, gets to see the memory.
fn forbid_dumps() -> anyhow::Result<()> {
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    setrlimit(Resource::Core, none)
        .and_then(|()| set_dumpable_behavior(DumpableBehavior::NotDumpable))
        .map_err(|error| anyhow::anyhow!("cannot forbid core dumps: {error}"))
}

fn main() -> ExitCode {
    let Arguments { options, command } = Arguments::parse();
    let json = options.json;
    let result = forbid_dumps()
        .and_then(|()| Ok(commands::run(options, command)?))
        .and_then(|outcome| Ok(outcome.map_or(Ok(()), |outcome| output::print(&outcome, json))?));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output::print_error(&error, json);
            ExitCode::from(1)
        }
    }
}
