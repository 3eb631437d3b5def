//! The command line of `trefoil-shim`.

use crate::config::{self, AgentArguments, Arguments, Config, LogFormat, LogLevel};
use crate::issuer::Issuer;
use crate::{agent, init, print, sealing_key, server, user_bundle};
use anyhow::Context as _;
use clap::{Parser, Subcommand};
use std::process::ExitCode;
use std::time::Duration;
use tracing::level_filters::LevelFilter;
use trefoil_keys::{memory, panics, privileges};
use trefoil_link::Workers;

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
    /// Put the store under another key file (while no sidecar runs); then name that in the configuration
    ChangeLock(init::ChangeLockArguments),
    /// Stand between the application and the proxy
    Sidecar(Arguments),
    /// Stand between the user's browser and the application
    #[command(args_conflicts_with_subcommands = true)]
    Agent {
        #[command(subcommand)]
        action: Option<AgentAction>,
        #[command(flatten)]
        arguments: AgentArguments,
    },
    /// Print one envelope made from a user bundle
    Envelope(print::Arguments),
}

#[derive(Subcommand)]
enum AgentAction {
    /// Lock a bundle, as trefoil-admin issued it, under a passphrase
    Import(user_bundle::Import),
}

/// Tokio's own default.
const WORKER_STACK: usize = 2 * 1024 * 1024;

const DEFECT: &str = "panic: a defect of trefoil-shim, please report it";

/// Does what the command line says.
pub fn run() -> ExitCode {
    panics::watch(|place| eprintln!("trefoil-shim: {DEFECT}, at {place}"));
    let action = Command::parse().action;
    let outcome = keep_memory_private().and_then(|()| match action {
        Action::Init(arguments) => init::run(&arguments),
        Action::ChangeLock(arguments) => init::change_lock(arguments),
        Action::Sidecar(arguments) => sidecar(&arguments),
        Action::Agent { action: None, arguments } => run_agent(&arguments),
        Action::Agent { action: Some(AgentAction::Import(import)), .. } => user_bundle::import(&import),
        Action::Envelope(arguments) => print::run(arguments),
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
    memory::keep_private().context("cannot keep other processes out of this one's memory")
}

fn sidecar(arguments: &Arguments) -> anyhow::Result<()> {
    let config = load(arguments)?;
    let sidecar = server::Sidecar::open(&config)?;
    if arguments.check {
        println!("configuration, state and user bundle are valid");
        return Ok(());
    }
    log(config.log_format, config.log_level);
    if privileges::is_root() && config.user.is_none() {
        tracing::warn!(
            "running as root, and the sidecar needs none of its rights: name an account by `user` (root, if it must be)"
        );
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let workers = Workers::start(WORKER_STACK)?;
    let served = runtime.block_on(sidecar.run(config, &workers));
    workers.stop(Duration::ZERO);
    served
}

/// The configuration, read with the rights that the program was started with. From then on it has those of
/// `user` alone.
pub(crate) fn load(arguments: &Arguments) -> anyhow::Result<Config> {
    let config = Config::load(arguments, |name| std::env::var(name).ok())?;
    config.user.as_deref().map(privileges::become_user).transpose()?;
    // Who becomes somebody else becomes dumpable again.
    keep_memory_private()?;
    Ok(config)
}

fn run_agent(arguments: &AgentArguments) -> anyhow::Result<()> {
    let mut config = config::Agent::load(arguments, |name| std::env::var(name).ok())?;
    let opened = user_bundle::open(&config.bundle, arguments.passphrase_fd)?;
    let issuer = Issuer::new(opened.bundle)?;
    if let Some(newest) = sealing_key::newest(issuer.bundle(), &config.bundle)? {
        issuer.seal_to(&newest);
    }
    let agent = agent::Agent::new(&mut config, issuer)?;
    if arguments.check {
        println!("configuration and user bundle are valid");
        return Ok(());
    }
    log(config.log_format, config.log_level);
    if !opened.locked {
        tracing::warn!(
            "the share in {} is not locked: whoever reads the file has it; lock it with: trefoil-shim agent import",
            config.bundle.display()
        );
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(agent.run(config))
}

fn log(format: LogFormat, level: LogLevel) {
    let level = match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
    };
    // A log that cannot be written, as on a full disk, is no reason to panic.
    let log = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(std::io::stderr)
        .log_internal_errors(false);
    match format {
        LogFormat::Text => log.with_ansi(false).init(),
        LogFormat::Json => log.json().init(),
    }
    panics::watch(|place| tracing::error!(place, "{DEFECT}"));
}
