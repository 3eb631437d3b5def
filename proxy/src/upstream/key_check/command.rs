//! `trefoil-proxy write-check-value`: puts the tenant key's check value into a database that lost it,
//! which is never done without being asked for.

use super::{DATABASE, Found, WRITE, put, read};
use crate::state::{SeenDatabase, State};
use crate::upstream::Server;
use anyhow::Context;
use clap::Args;
use std::path::PathBuf;
use trefoil_keys::bundle::CheckValue;

const OVERWRITE: &str = "INSERT INTO trefoil.key_check (keyspace, epoch, value) VALUES ($1, $2, $3)
    ON CONFLICT (keyspace, epoch) DO UPDATE SET value = excluded.value";

/// Arguments of `write-check-value`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  trefoil-proxy write-check-value --config proxy.toml --database clinic")]
pub struct WriteCheckValueArguments {
    /// Configuration file (TOML)
    #[arg(long, value_name = "FILE", env = "TREFOIL_CONFIG")]
    pub config: Option<PathBuf>,
    /// The database
    #[arg(long, value_name = "NAME")]
    pub database: String,
    /// Overwrite a check value of another tenant key: what is encrypted under that becomes unreadable errors
    #[arg(long)]
    pub overwrite: bool,
}

/// Writes the check values of all keyspaces, and remembers that the database has them.
pub async fn run(
    arguments: &WriteCheckValueArguments,
    server: &Server,
    mut login: tokio_postgres::Config,
    state: &State,
) -> anyhow::Result<()> {
    let own = state.shares().check_values();
    if own.is_empty() {
        anyhow::bail!("the proxy has no tenant key: finish its bootstrap first");
    }
    let client = server
        .log_in(login.dbname(&arguments.database))
        .await
        .with_context(|| format!("cannot connect to the database {}", arguments.database))?;
    let row = client.query_one(DATABASE, &[]).await?;
    let (oid, name, exists): (u32, String, bool) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
    let found = if exists { read(&client).await? } else { Found::new() };
    let differs = |(keyspace, check): (&String, &CheckValue)| {
        found.get(&(keyspace.clone(), i32::from(check.epoch))).is_some_and(|value| *value != check.value)
    };
    if !arguments.overwrite && own.iter().any(differs) {
        anyhow::bail!(
            "the database {name} has the check value of another tenant key; if it was altered, and the cells are \
             this tenant's, use --overwrite"
        );
    }
    put(&client, if arguments.overwrite { OVERWRITE } else { WRITE }, own.iter()).await?;
    let epochs = own.iter().map(|(keyspace, check)| (keyspace.clone(), check.epoch)).collect();
    state.see(oid, &SeenDatabase { name: name.clone(), epochs })?;
    println!("the database {name} has the check value of {} keyspace(s)", own.len());
    Ok(())
}
