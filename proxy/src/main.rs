//! `trefoil-proxy`: reads configuration and policy, opens its store, and serves until SIGTERM or SIGINT.
//! SIGHUP reads certificates, who may log in and the databases' catalogs anew. The log holds no SQL text, no value and no share, not even
//! of a panic.

use anyhow::Context;
use axum::Router;
use clap::Parser;
use futures_util::FutureExt;
use std::iter;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinSet;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use trefoil_https::server::Bounds;
use trefoil_keys::audit::Checkpoint;
use trefoil_keys::lock::Lock;
use trefoil_keys::store::Store;
use trefoil_keys::{Protection, memory, panics, privileges};
use trefoil_link::{ServedTls, Workers};
use trefoil_proxy::audit::Audit;
use trefoil_proxy::authentication::{Authentication, scram_verifier};
use trefoil_proxy::bootstrap::InitArguments;
use trefoil_proxy::certificates::Certificates;
use trefoil_proxy::config::{
    Arguments, Command, Config, LogFormat, LogLevel, StoreConfig, is_known_variable,
};
use trefoil_proxy::explain::{self, ExplainArguments};
use trefoil_proxy::policy::Policy;
use trefoil_proxy::session::{Door, Environment, Plans};
use trefoil_proxy::shares::Limits;
use trefoil_proxy::state::State;
use trefoil_proxy::upstream::{Catalogs, Server, WriteCheckValueArguments, write_check_value};
use trefoil_proxy::{admin, bootstrap, server};

/// Statements are parsed and analysed on worker threads, by recursion as deep as they are nested.
const WORKER_STACK: usize = 64 * 1024 * 1024;

const DEFECT: &str = "panic: a defect of trefoil-proxy, please report it";

/// Shares pass through buffers of TLS, HTTP and JSON, which free them unwiped.
#[global_allocator]
static ALLOCATOR: trefoil_keys::Wiping = trefoil_keys::Wiping;

fn main() -> ExitCode {
    panics::watch(|place| eprintln!("trefoil-proxy: {DEFECT}, at {place}"));
    let arguments = Arguments::parse();
    let outcome = match arguments.command {
        Some(Command::Explain(arguments)) => explain(arguments),
        Some(Command::Init(arguments)) => init(&arguments).map(|()| ExitCode::SUCCESS),
        Some(Command::WriteCheckValue(arguments)) => repair(&arguments).map(|()| ExitCode::SUCCESS),
        Some(Command::ScramVerifier(arguments)) => memory::keep_private()
            .context("cannot keep other processes out of this one's memory")
            .and_then(|()| scram_verifier(&arguments))
            .map(|()| ExitCode::SUCCESS),
        Some(Command::ChangeLock { config, key_file }) => {
            change_lock(config.as_ref(), key_file).map(|()| ExitCode::SUCCESS)
        }
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

/// The configuration, read with the rights that the program was started with. From then on it has those of
/// `user` alone.
fn load(arguments: &Arguments) -> anyhow::Result<Config> {
    let config = Config::load(arguments, |name| std::env::var(name).ok()).context("configuration")?;
    config.user.as_deref().map(privileges::become_user).transpose()?;
    memory::keep_private().context("cannot keep other processes out of this one's memory")?;
    Ok(config)
}

/// The configuration for a subcommand, which has no other flags of it.
fn load_file(config: Option<&PathBuf>) -> anyhow::Result<Config> {
    load(&Arguments { config: config.cloned(), ..Arguments::default() })
}

fn init(arguments: &InitArguments) -> anyhow::Result<()> {
    let config = load_file(arguments.config.as_ref())?;
    let StoreConfig { directory, lock, listen, .. } = &config.store;
    Ok(bootstrap::init(arguments, directory, lock, *listen)?)
}

fn repair(arguments: &WriteCheckValueArguments) -> anyhow::Result<()> {
    let config = load_file(arguments.config.as_ref())?;
    let state = open(&config)?;
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(write_check_value(
        arguments,
        &server(&config)?,
        config.catalog_login(),
        &state,
    ))
}

fn change_lock(config: Option<&PathBuf>, key_file: PathBuf) -> anyhow::Result<()> {
    let StoreConfig { directory, lock, .. } = load_file(config)?.store;
    let other = Lock::KeyFile(key_file.clone());
    other.create_if_missing()?;
    Store::change_lock(&directory, &lock, &other)?;
    println!(
        "the store in {} is locked by {} from now on: name it under [lock], keep a copy apart from the store, \
         and destroy the former key",
        directory.display(),
        key_file.display()
    );
    Ok(())
}

fn server(config: &Config) -> anyhow::Result<Server> {
    config.upstream.server().context("[upstream]")
}

fn open(config: &Config) -> anyhow::Result<State> {
    let limits = Limits { max_validity: config.max_validity, clock_skew: config.clock_skew };
    Ok(State::open(&config.store.directory, &config.store.lock, limits)?)
}

fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let config = load(arguments)?;
    let text = std::fs::read_to_string(&config.policy)
        .with_context(|| format!("policy {}", config.policy.display()))?;
    let policy = Policy::parse(&text).with_context(|| format!("policy {}", config.policy.display()))?;
    let protection = trefoil_keys::protection()?;
    let state = open(&config)?;
    let certificates = Arc::new(Certificates::new(&config, &state)?);
    let links = Links {
        certificates,
        server: Arc::new(server(&config)?),
        authentication: Arc::new(
            Authentication::load(config.authentication.clone()).context("authentication")?,
        ),
    };
    check_keyspaces(&policy, &state).with_context(|| format!("policy {}", config.policy.display()))?;
    if arguments.check {
        println!("configuration, policy and store are valid");
        return Ok(());
    }

    start_log(config.log_format, config.log_level);
    panics::watch(|place| tracing::error!(place, "{DEFECT}"));
    if privileges::is_root() && config.user.is_none() {
        tracing::warn!(
            "running as root, and the proxy needs none of its rights: name an account by `user` (root, if it must be)"
        );
    }
    match protection {
        Protection::Secret => tracing::info!("shares of requests lie in secret memory"),
        Protection::Locked => tracing::warn!("shares of requests lie in locked memory: no memfd_secret here"),
    }
    warn_of_unknown_variables();
    if links.server.is_in_clear() {
        let address = links.server.address();
        tracing::warn!(%address, "what is said to the database crosses the network in clear: [upstream] tls = \"disable\"");
    }
    let state = Arc::new(state);
    let audit = open_audit(&config, &text, &state)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .thread_stack_size(WORKER_STACK)
        .enable_all()
        .build()
        .context("cannot start threads")?;
    let workers = Workers::start(WORKER_STACK).context("cannot start worker threads")?;
    let served = runtime.block_on(serve(config, policy, state, links, audit.clone(), &workers));
    // What is in the middle of an analysis is not waited for.
    workers.stop(Duration::from_secs(1));
    runtime.shutdown_timeout(Duration::from_secs(1));
    if let Some(audit) = audit {
        audit.stop();
    }
    served
}

/// Opens the audit log, where one is configured, and has shares' rejections recorded.
fn open_audit(config: &Config, policy: &str, state: &Arc<State>) -> anyhow::Result<Option<Arc<Audit>>> {
    let Some(options) = config.audit.clone() else { return Ok(None) };
    let hex = |digest: [u8; 32]| digest.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let start = serde_json::json!({
        "version": env!("CARGO_PKG_VERSION"),
        "tenant": state.identity().tenant,
        "application": state.identity().application,
        "policy_sha256": hex(trefoil_keys::signing::hash(policy)),
        "blocking": options.blocking,
    });
    let signer = Arc::clone(state);
    let sign = move |checkpoint: &Checkpoint| signer.sign(checkpoint).map_err(|error| error.to_string());
    let audit = Audit::open(options, &start, Box::new(sign))?;
    state.shares().record_rejections(Arc::clone(&audit));
    Ok(Some(audit))
}

/// What is read from files again at SIGHUP.
#[derive(Clone)]
struct Links {
    certificates: Arc<Certificates>,
    server: Arc<Server>,
    authentication: Arc<Authentication>,
}

async fn serve(
    config: Config,
    policy: Policy,
    state: Arc<State>,
    links: Links,
    audit: Option<Arc<Audit>>,
    workers: &Workers,
) -> anyhow::Result<()> {
    let (policy, shares) = (Arc::new(policy), Arc::clone(state.shares()));
    let login = config.catalog_login();
    let Links { certificates, server, authentication } = links.clone();
    let catalogs = Arc::new(Catalogs::new(
        Arc::clone(&server),
        login,
        Arc::clone(&policy),
        Arc::clone(&shares),
        Some(Arc::clone(&state)),
    ));
    let (mut terminate, mut interrupt) = (on(SignalKind::terminate())?, on(SignalKind::interrupt())?);
    let hang_up = on(SignalKind::hangup())?;
    bootstrap::log_if_unfinished(&state)?;
    let mut background = JoinSet::new();
    let router = admin::router(Arc::clone(&state), Arc::clone(&catalogs), audit.clone());
    background.spawn(open_admin_port(config.store.listen, Arc::clone(&certificates.admin), router).await?);
    tracing::info!("data port: certificate {}", certificates.data.offer().fingerprint);
    if !config.tls.required {
        tracing::warn!("connections in clear are taken from other hosts: tls.required = false");
    }
    let tls = Arc::clone(&certificates.data);
    background.spawn(watch(state));
    background.spawn(reread(hang_up, Arc::clone(&catalogs), links));
    background.spawn(async move { certificates.watch().await });
    let shutdown = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("stopping");
    };
    let environment = Environment {
        plans: Plans::new(policy, config.plan_cache_bytes, audit.is_some()),
        shares,
        catalogs,
        door: Door { tls, tls_required: config.tls.required, patience: config.listen.authentication_timeout },
        server,
        authentication,
        max_message: config.max_message,
        max_statements: config.max_statements,
        max_portals: config.max_portals,
        audit,
    };
    tokio::select! {
        served = server::run(&config.listen, environment, config.catalog_poll, workers, shutdown) => Ok(served?),
        // None of them ends by itself, and without any the proxy is only half there.
        Some(_) = background.join_next() => anyhow::bail!("a background task ended; the log says where"),
    }
}

async fn open_admin_port(
    listen: SocketAddr,
    tls: Arc<ServedTls>,
    router: Router,
) -> anyhow::Result<impl Future<Output = ()>> {
    let listener = TcpListener::bind(listen).await.with_context(|| format!("admin port {listen}"))?;
    let fingerprint = tls.offer().fingerprint;
    tracing::info!("admin port at {}, certificate {fingerprint}", listener.local_addr()?);
    Ok(trefoil_https::server::serve(listener, tls, router, Bounds::default()))
}

/// What becomes due with time: retired keys, an expired one-time password.
async fn watch(state: Arc<State>) {
    const EVERY: Duration = Duration::from_secs(60);
    let mut ticks = tokio::time::interval(EVERY);
    loop {
        ticks.tick().await;
        let state = Arc::clone(&state);
        let due = move || bootstrap::settle(&state).and_then(|()| state.forget_retired_keys());
        if let Ok(Err(error)) = tokio::task::spawn_blocking(due).await {
            tracing::error!(%error, "the store could not be brought up to date");
        }
    }
}

fn on(kind: SignalKind) -> anyhow::Result<Signal> {
    signal(kind).context("cannot receive signals")
}

async fn reread(mut hang_up: Signal, catalogs: Arc<Catalogs>, links: Links) {
    while hang_up.recv().await.is_some() {
        links.certificates.reload();
        if let Err(error) = links.server.reload() {
            tracing::error!(%error, "the files of [upstream] are no good: nothing of them has changed");
        }
        match links.authentication.reload() {
            Ok(()) => tracing::info!("hba_file, ident_file and users_file are read"),
            Err(error) => tracing::error!(%error, "who may log in has not changed"),
        }
        // A panic is told by its hook; the next signal is heeded all the same.
        AssertUnwindSafe(catalogs.reload_all()).catch_unwind().await.ok();
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
    // A log that cannot be written, as on a full disk, is no reason to panic.
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).log_internal_errors(false);
    let lines = match format {
        LogFormat::Text => lines.with_ansi(false).boxed(),
        LogFormat::Json => lines.json().boxed(),
    };
    // Before all layers: a filter of one layer looks each span up whenever it is entered.
    let ours = Targets::new().with_target("trefoil_proxy", level).with_target("trefoil_https", level);
    tracing_subscriber::registry().with(lines).with(ours).init();
}

fn warn_of_unknown_variables() {
    for name in std::env::vars_os().filter_map(|(name, _)| name.into_string().ok()) {
        if name.starts_with("TREFOIL_") && !is_known_variable(&name) {
            tracing::warn!(name, "environment variable is none of trefoil-proxy's");
        }
    }
}

/// A column whose keyspace has no tenant key could be neither written nor read.
fn check_keyspaces(policy: &Policy, state: &State) -> anyhow::Result<()> {
    let known = state.keyspaces();
    let named = policy.columns().iter().flat_map(|column| {
        let mask = column.denied.stored().map(|last| &last.keyspace);
        iter::once(&column.keyspace).chain(mask).map(move |keyspace| (column, keyspace))
    });
    match named.into_iter().find(|(_, keyspace)| !known.contains_key(*keyspace)) {
        None => Ok(()),
        Some((column, keyspace)) => anyhow::bail!(
            "{}.{}: the proxy has no keyspace `{keyspace}`, only {}; name one of these in the policy, or add it: trefoil-admin keyspace add",
            column.table,
            column.name,
            known.keys().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", "),
        ),
    }
}
