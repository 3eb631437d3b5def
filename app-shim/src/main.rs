//! `trefoil-shim`: stands beside the application, attaches user, envelope and the application's
//! shares to its requests, and relays the rest to the proxy byte for byte.

mod act_for;
mod admin;
mod backend;
mod config;
mod envelope;
mod frontend;
mod init;
mod proxy;
mod sealing_key;
mod server;
mod session;
mod set_statement;
mod settings;
mod shares;
mod startup;
mod state;
mod tenant_key;
mod tka;
mod two_phase;

use anyhow::Context as _;
use clap::{Parser, Subcommand, ValueEnum};
use config::{Arguments, Config, LogFormat, LogLevel};
use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use tracing::level_filters::LevelFilter;
use trefoil_keys::bundle::{self, UserBundle};

#[derive(Parser)]
#[command(name = "trefoil-shim", version, about = "Attaches an application's and its users' shares")]
struct Command {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Make what a sidecar needs: state directory, certificate, password
    Init(init::Arguments),
    /// Stand between the application and the proxy
    Sidecar(Arguments),
    /// Print one envelope made from a user bundle
    Envelope {
        /// The user's bundle, as trefoil-admin issued it (JSON)
        #[arg(long, value_name = "FILE")]
        bundle: PathBuf,
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
    },
}

#[derive(Clone, Copy, ValueEnum)]
enum Scope {
    /// Statements that read
    Read,
    /// All statements
    Write,
}

impl From<Scope> for trefoil_keys::envelope::Scope {
    fn from(scope: Scope) -> Self {
        match scope {
            Scope::Read => Self::Read,
            Scope::Write => Self::Write,
        }
    }
}

fn main() -> ExitCode {
    let action = Command::parse().action;
    let outcome = keep_memory_private().and_then(|()| match action {
        Action::Init(arguments) => init::run(&arguments),
        Action::Sidecar(arguments) => sidecar(&arguments),
        Action::Envelope { bundle, announcement, scope, issued_at, lifetime, max_uses, tables } => {
            let tables = tables.map(|tables| tables.into_iter().collect());
            let limits = envelope::Limits { scope: scope.into(), lifetime, max_uses, tables };
            let issued_at = issued_at.unwrap_or_else(envelope::now);
            print_envelope(&bundle, announcement.as_deref(), &limits, issued_at)
        }
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("trefoil-shim: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// No core dumps, and no other process of the same user may look into this one.
fn keep_memory_private() -> anyhow::Result<()> {
    set_dumpable_behavior(DumpableBehavior::NotDumpable).context("cannot become undumpable")?;
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    setrlimit(Resource::Core, none).context("cannot switch core dumps off")
}

fn sidecar(arguments: &Arguments) -> anyhow::Result<()> {
    let config = Config::load(arguments, |name| std::env::var(name).ok())?;
    let sidecar = server::Sidecar::open(&config)?;
    if arguments.check {
        println!("configuration, state and user bundle are valid");
        return Ok(());
    }
    log(&config);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(sidecar.run(config))
}

fn log(config: &Config) {
    let level = match config.log_level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
    };
    let log = tracing_subscriber::fmt().with_max_level(level).with_writer(std::io::stderr);
    match config.log_format {
        LogFormat::Text => log.with_ansi(false).init(),
        LogFormat::Json => log.json().init(),
    }
}

fn print_envelope(
    path: &Path,
    announcement: Option<&Path>,
    limits: &envelope::Limits,
    issued_at: u64,
) -> anyhow::Result<()> {
    let bundle: UserBundle = bundle::read(path)?;
    let key = sealing_key::choose(&bundle, path, announcement)?;
    println!("{}", envelope::make(&bundle, &key, limits, issued_at)?);
    Ok(())
}
