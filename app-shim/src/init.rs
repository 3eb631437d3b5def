//! `init`: makes the state of a sidecar that the tenant admin manages, and pins the proxy's keys. Later
//! it changes what the tenant admin does not: the password, and which proxy it is.

use crate::config::{self, Managed};
use crate::proxy::Proxy;
use crate::state::{Beginning, KnownProxy, State};
use anyhow::{Context as _, bail, ensure};
use clap::Args;
use serde::{Serialize, Serializer};
use std::io::Write as _;
use std::path::PathBuf;
use trefoil_keys::lock::Lock;
use trefoil_keys::password::PasswordHash;
use trefoil_keys::private_file;
use trefoil_keys::store::Store;
use trefoil_keys::tls::{self, Fingerprint, SelfSigned};
use zeroize::Zeroizing;

/// Flags of `init`.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Configuration file of the sidecar (TOML)
    #[arg(long, value_name = "FILE", env = "TREFOIL_CONFIG")]
    config: Option<PathBuf>,
    /// Names and addresses by which the tenant admin reaches the interface, for the certificate
    #[arg(long, value_name = "NAME,…", value_delimiter = ',', default_value = "localhost,127.0.0.1")]
    names: Vec<String>,
    /// The hash of a password that the tenant has chosen (trefoil-admin password-hash), in place of a new one
    #[arg(long, value_name = "HASH")]
    password_hash: Option<String>,
    /// Make the state anew, and forget all users' shares in the one that there is
    #[arg(long, conflicts_with_all = ["new_password", "new_proxy"])]
    anew: bool,
    /// Keep the state, and give the tenant admin another password
    #[arg(long)]
    new_password: bool,
    /// Keep the state, and take the proxy's keys as they are now in place of those known: for a proxy
    /// that was made anew. A command that is in doubt is forgotten
    #[arg(long)]
    new_proxy: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Flags of `change-lock`.
#[derive(Debug, Args)]
pub(crate) struct ChangeLockArguments {
    /// Configuration file of the sidecar (TOML), with the lock that the store has now
    #[arg(long, value_name = "FILE", env = "TREFOIL_CONFIG")]
    config: Option<PathBuf>,
    /// The key file that takes the lock's place; made if it is missing
    #[arg(long, value_name = "FILE")]
    key_file: PathBuf,
}

/// Puts the store under another key file.
pub(crate) fn change_lock(arguments: ChangeLockArguments) -> anyhow::Result<()> {
    let ChangeLockArguments { config, key_file } = arguments;
    let file = config::Arguments::of_file(config);
    let Managed { state, lock, .. } = crate::command::load(&file)?.managed;
    let other = Lock::KeyFile(key_file.clone());
    other.create_if_missing()?;
    Store::change_lock(&state, &lock, &other)?;
    println!(
        "the store in {} is locked by {} from now on: name it under [lock], keep a copy apart from the store, \
         and destroy the former key",
        state.display(),
        key_file.display()
    );
    Ok(())
}

/// What the tenant admin has to know.
#[derive(Serialize)]
struct Made {
    /// The lock's file, if it was made now.
    #[serde(skip_serializing_if = "Option::is_none")]
    lock_created: Option<PathBuf>,
    tenant: String,
    application: String,
    fingerprint: Fingerprint,
    /// Absent if the hash was given.
    #[serde(serialize_with = "as_text")]
    password: Option<Zeroizing<String>>,
    /// Whether the proxy's bootstrap is done.
    bootstrapped: bool,
}

fn as_text<S: Serializer>(password: &Option<Zeroizing<String>>, serializer: S) -> Result<S::Ok, S::Error> {
    password.as_deref().map(String::as_str).serialize(serializer)
}

/// Makes the state and prints what the tenant admin has to know.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let file = config::Arguments::of_file(arguments.config.clone());
    let config = crate::command::load(&file)?;
    let managed = config.managed;
    let made = if arguments.new_password || arguments.new_proxy {
        change(&managed, arguments)?
    } else if Store::exists(&managed.state) && !arguments.anew {
        bail!(
            "the store in {} exists; use --anew to replace it and forget all users' shares",
            managed.state.display()
        );
    } else {
        make(&managed, arguments)?
    };
    if arguments.json {
        std::io::stdout().write_all(&private_file::to_json(&made)?)?;
        return Ok(());
    }
    if let Some(lock) = &made.lock_created {
        println!("lock file:    {}", lock.display());
        println!("              keep a copy apart from the store: without it nothing opens the store");
    }
    println!("tenant:       {}", made.tenant);
    println!("application:  {}", made.application);
    println!("fingerprint:  {}", made.fingerprint);
    if let Some(password) = &made.password {
        println!("password:     {}", password.as_str());
        println!("Give the tenant admin fingerprint and password. The password is not shown again.");
    }
    if !made.bootstrapped {
        println!("The proxy's bootstrap is not done yet; until then commands are refused.");
    }
    Ok(())
}

fn make(managed: &Managed, arguments: &Arguments) -> anyhow::Result<Made> {
    let (password, hash) = password(arguments)?;
    let (proxy, last) = introduce(managed)?;
    let identity = SelfSigned::generate(&arguments.names)?;
    let fingerprint = fingerprint(managed, &identity)?;
    let lock_created = match (managed.lock.create_if_missing()?, &managed.lock) {
        (true, Lock::KeyFile(path)) => Some(path.clone()),
        _ => None,
    };
    let beginning = Beginning { identity, password: hash, proxy, last };
    State::create(&managed.state, &managed.lock, arguments.anew, &beginning)?;
    Ok(Made { lock_created, ..Made::new(beginning.proxy, fingerprint, password) })
}

fn change(managed: &Managed, arguments: &Arguments) -> anyhow::Result<Made> {
    let state = State::open(&managed.state, &managed.lock)?;
    let fingerprint = fingerprint(managed, &state.identity()?)?;
    let mut known = state.proxy()?;
    if arguments.new_proxy {
        let (found, last) = introduce(managed)?;
        ensure!(
            (&found.tenant, &found.application) == (&known.tenant, &known.application),
            "the proxy is of tenant {} and application {}, the state of {} and {}; make the state anew by --anew",
            found.tenant,
            found.application,
            known.tenant,
            known.application,
        );
        state.replace_proxy(&found, last)?;
        known = found;
    }
    if !arguments.new_password {
        return Ok(Made::new(known, fingerprint, None));
    }
    let (password, hash) = password(arguments)?;
    state.put_password(&hash)?;
    Ok(Made::new(known, fingerprint, password))
}

impl Made {
    fn new(known: KnownProxy, fingerprint: Fingerprint, password: Option<Zeroizing<String>>) -> Self {
        let KnownProxy { tenant, application, tenant_key, .. } = known;
        let bootstrapped = tenant_key.is_some();
        Self { lock_created: None, tenant, application, fingerprint, password, bootstrapped }
    }
}

fn password(arguments: &Arguments) -> anyhow::Result<(Option<Zeroizing<String>>, PasswordHash)> {
    if let Some(hash) = &arguments.password_hash {
        return Ok((None, PasswordHash::parse(hash)?));
    }
    let (hash, password) = PasswordHash::generate();
    Ok((Some(password), hash))
}

fn introduce(managed: &Managed) -> anyhow::Result<(KnownProxy, u64)> {
    let proxy = Proxy::new(&managed.proxy_admin)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(proxy.introduce(None)).context("init asks the proxy for its keys")
}

/// Of the certificate that the interface shows.
fn fingerprint(managed: &Managed, identity: &SelfSigned) -> anyhow::Result<Fingerprint> {
    let Some((path, _)) = &managed.admin.certificate else { return Ok(identity.fingerprint()) };
    let pem = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let chain = tls::certificates_from_pem(&pem)?;
    Ok(Fingerprint::of(chain.first().context("there is no certificate in `admin.certificate`")?))
}
