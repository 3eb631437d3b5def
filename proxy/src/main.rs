//! `trefoil-proxy`: reads configuration, policy and shares, and serves until SIGTERM or SIGINT. SIGHUP
//! reads the shares and the databases' catalogs anew. The log holds no SQL text, no value and no share, not even of a panic.

use anyhow::Context;
use clap::Parser;
use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};
use std::panic::PanicHookInfo;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use trefoil_proxy::config::{Arguments, Command, Config, LogFormat, LogLevel, is_known_variable};
use trefoil_proxy::explain::{self, ExplainArguments};
use trefoil_proxy::policy::Policy;
use trefoil_proxy::server;
use trefoil_proxy::shares::{Limits, Shares};
use trefoil_proxy::upstream::Catalogs;

/// Statements are parsed and analysed on worker threads, by recursion as deep as they are nested.
const WORKER_STACK: usize = 64 * 1024 * 1024;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let outcome = match arguments.command {
        Some(Command::Explain(arguments)) => explain(arguments),
        None => run(&arguments).map(|()| ExitCode::SUCCESS),
    };
    match outcome {
        Ok(code) => code,
        Err(error) => {
            eprintln!("trefoil-proxy: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn explain(arguments: ExplainArguments) -> anyhow::Result<ExitCode> {
    let explaining = std::thread::Builder::new()
        .stack_size(WORKER_STACK)
        .spawn(move || explain::run(&arguments))
        .context("cannot start a thread")?;
    match explaining.join() {
        Ok(refused) => Ok(if refused? { ExitCode::from(3) } else { ExitCode::SUCCESS }),
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let config = Config::load(arguments, |name| std::env::var(name).ok()).context("configuration")?;
    let policy = std::fs::read_to_string(&config.policy)
        .with_context(|| format!("policy {}", config.policy.display()))?;
    let policy = Policy::parse(&policy).with_context(|| format!("policy {}", config.policy.display()))?;
    let limits = Limits { max_validity: config.max_validity, clock_skew: config.clock_skew };
    let shares = Shares::read(&config.shares, limits)?;
    check_keyspaces(&policy, &shares)
        .with_context(|| format!("policy {}, shares {}", config.policy.display(), config.shares.display()))?;
    if arguments.check {
        println!("configuration, policy and shares are valid");
        return Ok(());
    }

    keep_memory_private()?;
    start_log(config.log_format, config.log_level);
    std::panic::set_hook(Box::new(log_panic));
    warn_of_unknown_variables();
    tokio::runtime::Builder::new_multi_thread()
        .thread_stack_size(WORKER_STACK)
        .enable_all()
        .build()
        .context("cannot start worker threads")?
        .block_on(serve(config, policy, shares))
}

/// No core dumps, and no other process of the same user may look into this one.
fn keep_memory_private() -> anyhow::Result<()> {
    set_dumpable_behavior(DumpableBehavior::NotDumpable).context("cannot become undumpable")?;
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    setrlimit(Resource::Core, none).context("cannot switch core dumps off")
}

async fn serve(config: Config, policy: Policy, shares: Shares) -> anyhow::Result<()> {
    let (policy, shares) = (Arc::new(policy), Arc::new(shares));
    let catalogs = Catalogs::new(config.catalog_login(), Arc::clone(&policy), Arc::clone(&shares));
    let catalogs = Arc::new(catalogs);
    let (mut terminate, mut interrupt) = (on(SignalKind::terminate())?, on(SignalKind::interrupt())?);
    let hang_up = on(SignalKind::hangup())?;
    tokio::spawn(reread(hang_up, Arc::clone(&shares), config.shares.clone(), Arc::clone(&catalogs)));
    let shutdown = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("stopping");
    };
    server::run(config, policy, shares, catalogs, shutdown).await?;
    Ok(())
}

fn on(kind: SignalKind) -> anyhow::Result<Signal> {
    signal(kind).context("cannot receive signals")
}

async fn reread(mut hang_up: Signal, shares: Arc<Shares>, path: PathBuf, catalogs: Arc<Catalogs>) {
    while hang_up.recv().await.is_some() {
        match shares.reread(&path) {
            Ok(()) => tracing::info!("shares read anew"),
            Err(error) => tracing::error!(%error, "shares not read anew: the ones before stay in use"),
        }
        catalogs.reload_all().await;
    }
}

/// Our own events only: libraries may log what they send.
fn start_log(format: LogFormat, level: LogLevel) {
    let level = match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
    };
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let lines = match format {
        LogFormat::Text => lines.with_ansi(false).boxed(),
        LogFormat::Json => lines.json().boxed(),
    };
    tracing_subscriber::registry()
        .with(lines.with_filter(Targets::new().with_target("trefoil_proxy", level)))
        .init();
}

/// Where it was, but not the message, which may quote data.
fn log_panic(panic: &PanicHookInfo<'_>) {
    let place = panic.location().map(ToString::to_string);
    tracing::error!(place, "panic: a defect of trefoil-proxy, please report it");
}

fn warn_of_unknown_variables() {
    for name in std::env::vars_os().filter_map(|(name, _)| name.into_string().ok()) {
        if name.starts_with("TREFOIL_") && !is_known_variable(&name) {
            tracing::warn!(name, "environment variable is none of trefoil-proxy's");
        }
    }
}

/// A column whose keyspace has no check value could be neither written nor read.
fn check_keyspaces(policy: &Policy, shares: &Shares) -> anyhow::Result<()> {
    let known = shares.check_values();
    match policy.columns().iter().find(|column| !known.contains_key(&column.keyspace)) {
        None => Ok(()),
        Some(column) => anyhow::bail!(
            "{}.{}: the shares have no keyspace `{}`, only {}; name one of these in the policy, or have the \
             proxy's bundle issued anew once the tenant has it",
            column.table,
            column.name,
            column.keyspace,
            known.keys().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", "),
        ),
    }
}
