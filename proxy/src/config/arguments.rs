//! The command line.

use crate::authentication::ScramVerifierArguments;
use crate::bootstrap::InitArguments;
use crate::explain::ExplainArguments;
use crate::upstream::WriteCheckValueArguments;
use clap::{Parser, Subcommand};
use std::path::PathBuf;

/// The command line.
#[derive(Debug, Default, Parser)]
#[command(
    name = "trefoil-proxy",
    version,
    about = "Encrypts and decrypts protected PostgreSQL columns",
    args_conflicts_with_subcommands = true,
    after_help = "SIGHUP reads the databases' catalogs, certificates and who may log in anew."
)]
pub struct Arguments {
    /// What to do; without one, serve.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Configuration file (TOML)
    #[arg(long, value_name = "FILE", env = "TREFOIL_CONFIG")]
    pub config: Option<PathBuf>,
    /// Check configuration, policy and store, and exit
    #[arg(long)]
    pub check: bool,
    /// Addresses to listen on, such as `127.0.0.1:6432,[::1]:6432`; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<String>,
    /// Host of the PostgreSQL server, or the directory of its socket
    #[arg(long, value_name = "HOST")]
    pub upstream_host: Option<String>,
    /// Port of the PostgreSQL server
    #[arg(long, value_name = "PORT")]
    pub upstream_port: Option<String>,
    /// Policy file (TOML)
    #[arg(long, value_name = "FILE")]
    pub policy: Option<String>,
    /// Form of the log: text or json
    #[arg(long, value_name = "FORM")]
    pub log_format: Option<String>,
    /// Least severe event to log: error, warn, info, debug
    #[arg(long, value_name = "LEVEL")]
    pub log_level: Option<String>,
}

/// What to do instead of serving.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show what would become of statements: what is encrypted and decrypted, or why they are refused
    Explain(ExplainArguments),
    /// Make the proxy's store, keys and certificate, and the one-time password of its bootstrap
    Init(InitArguments),
    /// Write the tenant key's check value into a database that lost it (while no proxy runs)
    WriteCheckValue(WriteCheckValueArguments),
    /// Make a verifier of a password for users_file
    ScramVerifier(ScramVerifierArguments),
    /// Put the store under another key file (while no proxy runs); then name that in the configuration
    ChangeLock {
        /// Configuration file (TOML), with the lock that the store has now
        #[arg(long, value_name = "FILE", env = "TREFOIL_CONFIG")]
        config: Option<PathBuf>,
        /// The key file that takes the lock's place; made if it is missing
        #[arg(long, value_name = "FILE")]
        key_file: PathBuf,
    },
}
