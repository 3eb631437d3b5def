//! `trefoil-admin`: the tenant's side of Trefoil. Keeps the tenant key in a vault, and grants, renews and
//! withdraws users' shares by signed commands. Works offline; where it speaks to others, outbound only.

mod answer;
mod application;
mod audit;
mod backup;
mod bootstrap;
mod commands;
mod content;
mod decrypt;
mod deliver;
mod escrow;
mod grant;
mod handover;
mod keyspace;
mod network;
mod outbox;
mod password_hash;
mod proxy;
mod proxy_key;
mod push;
mod renewal;
mod roles;
mod status;
mod tenant;
mod users;
mod vault;

use anyhow::Context as _;
use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;
use std::process::ExitCode;
use trefoil_keys::{memory, panics};

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
#[command(next_help_heading = "Global options")]
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
    #[arg(long, global = true, hide = true, value_name = "LOG2_N", value_parser = clap::value_parser!(u8).range(1..=i64::from(trefoil_passphrase::MAX_WORK_FACTOR)))]
    work_factor: Option<u8>,
}

#[derive(Subcommand)]
enum Command {
    /// Fetch the tenant key from a new proxy, or go on after an interruption. Asks for the one-time password.
    Bootstrap(bootstrap::BootstrapArguments),
    /// Get the tenant key from a proxy that cannot be reached, by files.
    #[command(subcommand)]
    Handover(handover::HandoverCommand),
    /// The application, through which commands go to the proxy.
    #[command(subcommand)]
    Application(application::ApplicationCommand),
    /// The tenant's users.
    #[command(subcommand)]
    User(users::UserCommand),
    /// Keyspaces: each with a tenant key of its own.
    #[command(subcommand)]
    Keyspace(keyspace::KeyspaceCommand),
    /// Give a user more keyspaces, by themselves or by roles.
    Grant(grant::GrantCommand),
    /// Take keyspaces or roles from a user: at once, in open sessions too.
    Revoke(grant::GrantCommand),
    /// Roles: named sets of keyspaces.
    #[command(subcommand)]
    Role(roles::RoleCommand),
    /// Give application and proxy new shares of all users, whose own shares stay.
    RenewShares(renewal::RenewArguments),
    /// The proxy itself, and another one in its place.
    #[command(subcommand)]
    Proxy(proxy::ProxyCommand),
    /// The proxy's key for envelopes.
    #[command(subcommand)]
    ProxyKey(proxy_key::ProxyKeyCommand),
    /// Send the outbox to the application, and take the proxy's receipts.
    Push(push::PushArguments),
    /// Commands that the proxy has not confirmed.
    Outbox(outbox::OutboxArguments),
    /// Hand carried commands to the application, without a vault.
    Deliver(deliver::DeliverArguments),
    /// Take receipts that somebody carried.
    Receipt(outbox::ReceiptArguments),
    /// Compare the vault with what the proxy signs about itself.
    Status(status::StatusArguments),
    /// The proxy's audit log.
    #[command(subcommand)]
    Audit(audit::AuditCommand),
    /// The keys on sheets of paper, for the day on which vault or admin are lost.
    #[command(subcommand)]
    Escrow(escrow::EscrowCommand),
    /// Hash a password that you choose, for --password-hash of trefoil-proxy init and trefoil-shim init.
    PasswordHash(password_hash::PasswordHashArguments),
    /// The vault as a file.
    #[command(subcommand)]
    Vault(backup::VaultCommand),
    /// Turn a dump of a protected database back into plaintext, without a proxy.
    Decrypt(decrypt::DecryptOptions),
}

fn main() -> ExitCode {
    panics::watch(|place| eprintln!("trefoil-admin: panic: a defect, please report it, at {place}"));
    let Arguments { options, command } = Arguments::parse();
    let json = options.json;
    let result = memory::keep_private()
        .context("cannot keep other processes out of this one's memory")
        .and_then(|()| Ok(commands::run(options, command)?))
        .and_then(|answer| Ok(answer.print(json)?));
    match result {
        Ok(code) => code,
        Err(error) => {
            answer::print_error(&error, json);
            ExitCode::from(1)
        }
    }
}
