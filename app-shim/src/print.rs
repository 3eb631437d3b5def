//! `envelope`: prints one, for programs that are no browsers and for trying things out.

use crate::envelope::{self, Limits};
use crate::{sealing_key, user_bundle};
use clap::{Args, ValueEnum};
use std::path::PathBuf;

/// Flags of `envelope`.
#[derive(Args)]
pub(crate) struct Arguments {
    /// The user's bundle, locked by `agent import` or as trefoil-admin issued it
    #[arg(long, value_name = "FILE")]
    bundle: PathBuf,
    /// File descriptor to read the bundle's passphrase from, in place of a prompt
    #[arg(long, value_name = "FD")]
    passphrase_fd: Option<u32>,
    /// The tenant admin's announcement of the proxy's keys; it is kept beside the bundle and heeded
    /// from then on
    #[arg(long, value_name = "FILE")]
    announcement: Option<PathBuf>,
    /// What the envelope allows
    #[arg(long, value_enum, default_value = "write")]
    scope: Scope,
    /// From when on it holds, in seconds since 1970; now, if not given
    #[arg(long, value_name = "UNIX_TIME")]
    issued_at: Option<u64>,
    /// For how many seconds it holds
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    lifetime: u64,
    /// For how many requests it serves; for any number until it expires, if not given
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    max_uses: Option<u32>,
    /// The only tables that it is for, such as public.patients,public.visits; for all, if not given
    #[arg(long, value_name = "SCHEMA.TABLE,…", value_delimiter = ',')]
    tables: Option<Vec<String>>,
    /// The application for which it is meant; that of the bundle, if not given
    #[arg(long, value_name = "ID")]
    audience: Option<String>,
    /// Print user and envelope as fields of HTTP, for: curl --header @-
    #[arg(long)]
    header: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Scope {
    /// Statements that read
    Read,
    /// All statements
    Write,
}

/// Prints it.
pub(crate) fn run(arguments: Arguments) -> anyhow::Result<()> {
    let bundle = user_bundle::open(&arguments.bundle, arguments.passphrase_fd)?.bundle;
    let key = sealing_key::choose(&bundle, &arguments.bundle, arguments.announcement.as_deref())?;
    let limits = Limits {
        scope: match arguments.scope {
            Scope::Read => trefoil_keys::envelope::Scope::Read,
            Scope::Write => trefoil_keys::envelope::Scope::Write,
        },
        lifetime: arguments.lifetime,
        max_uses: arguments.max_uses,
        tables: arguments.tables.map(|tables| tables.into_iter().collect()),
        audience: arguments.audience,
    };
    let issued_at = arguments.issued_at.unwrap_or_else(envelope::now);
    let envelope = envelope::make(&bundle, &key, &limits, issued_at)?;
    if arguments.header {
        println!("Trefoil-User: {}\nTrefoil-Envelope: {envelope}", bundle.user);
    } else {
        println!("{envelope}");
    }
    Ok(())
}
