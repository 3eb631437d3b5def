//! The command line of `trefoil-proxy explain`.

use super::{explain, overview};
use crate::policy::{Policy, catalog::Catalog};
use crate::upstream::{Server, Tls};
use crate::{sql, upstream};
use anyhow::Context;
use clap::Args;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio_postgres::config::{Host, SslMode};
use trefoil_link::{Address, Trust};

/// Arguments of `explain`.
#[derive(Debug, Args)]
#[command(
    after_help = "Nothing is executed. Exits with 0 if every statement would go up, with 3 if one would be \
                        refused.\n\nExample:\n  trefoil-proxy explain --policy policy.toml --schema schema.sql \
                        'SELECT name FROM patients WHERE ssn = $1'"
)]
pub struct ExplainArguments {
    /// Policy file (TOML)
    #[arg(long, value_name = "FILE", env = "TREFOIL_POLICY")]
    pub policy: PathBuf,
    /// The tables, as SQL: pg_dump --schema-only, or the application's own DDL
    #[arg(long, value_name = "FILE", conflicts_with = "url")]
    pub schema: Option<PathBuf>,
    /// The database to read the tables from, such as postgresql://user@localhost/db (PGPASSWORD is used).
    /// Under TLS and verify-full; in clear with sslmode=disable, and to this machine without sslmode=require
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,
    /// The authorities (PEM) that its certificate is trusted by, in place of the system's
    #[arg(long, value_name = "FILE", requires = "url")]
    pub ca: Option<PathBuf>,
    /// The statements; standard input for `-`. Without any, shows what the policy protects
    #[arg(value_name = "SQL")]
    pub statements: Vec<String>,
}

/// Runs the command; returns whether a statement would be refused. Needs the stack that
/// [`sql::analyze`] needs.
pub fn run(arguments: &ExplainArguments) -> anyhow::Result<bool> {
    let policy = read(&arguments.policy)?;
    let policy = Policy::parse(&policy).with_context(|| format!("policy {}", arguments.policy.display()))?;
    let catalog = catalog(arguments, &policy)?;
    if arguments.statements.is_empty() {
        print!("{}", overview(&policy, &catalog));
        return Ok(false);
    }
    let mut refused = false;
    for (number, statement) in arguments.statements.iter().enumerate() {
        let text = if statement == "-" { standard_input()? } else { statement.clone() };
        if number > 0 {
            println!();
        }
        let explanation = explain(&text, &policy, &catalog);
        print!("{}", explanation.text);
        refused |= explanation.refused;
    }
    Ok(refused)
}

fn catalog(arguments: &ExplainArguments, policy: &Policy) -> anyhow::Result<Arc<Catalog>> {
    if let Some(file) = &arguments.schema {
        return sql::schema(&read(file)?, policy).with_context(|| format!("schema {}", file.display()));
    }
    let Some(url) = &arguments.url else { return Ok(Arc::new(Catalog::empty())) };
    let mut login: tokio_postgres::Config = url.parse().context("--url")?;
    if let (None, Ok(password)) = (login.get_password(), std::env::var("PGPASSWORD")) {
        login.password(password);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let server = server(&login, arguments.ca.as_ref())?;
    let reading = upstream::read_catalog(&server, &login, policy);
    let catalog = runtime.block_on(reading).context("reading the catalog")?;
    Ok(Arc::new(catalog))
}

/// The first server that a URL names.
fn server(login: &tokio_postgres::Config, ca: Option<&PathBuf>) -> anyhow::Result<Server> {
    let port = login.get_ports().first().copied().unwrap_or(5432);
    let host = match login.get_hosts().first() {
        Some(Host::Tcp(host)) => host.clone(),
        Some(Host::Unix(directory)) => directory.display().to_string(),
        None => "localhost".to_owned(),
    };
    let address = Address::new(&host, port);
    let clear = match login.get_ssl_mode() {
        SslMode::Disable => true,
        SslMode::Prefer => address.is_local() && ca.is_none(),
        _ => false,
    };
    let trust = ca.map_or(Trust::System, |file| Trust::Authority(file.clone()));
    let tls = (!clear).then_some(Tls { name: host, trust, identity: None, tls12: true });
    Ok(Server::new(address, tls)?)
}

fn read(file: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(file).with_context(|| file.display().to_string())
}

fn standard_input() -> anyhow::Result<String> {
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text).context("standard input")?;
    Ok(text)
}
