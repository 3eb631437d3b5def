//! What the proxy knows of the databases behind it: one catalog snapshot for each, read over
//! connections of the proxy's own, and whether its tenant keys are the ones that a database was
//! encrypted under.

mod fingerprint;
mod key_check;
mod load;
mod reach;
mod server;
mod watched;

pub use key_check::{WriteCheckValueArguments, write_check_value};
pub use server::{LoginError, Server, ServerError, Tls};

use crate::error::{ClientError, Code};
use crate::policy::{Policy, catalog::Catalog};
use crate::shares::Shares;
use crate::state::State;
use arc_swap::ArcSwap;
use fingerprint::Fingerprint;
use key_check::{Absent, Verdict};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_postgres::Client;
use trefoil_keys::panics::panic_point;

const LOAD_TIMEOUT: Duration = Duration::from_secs(30);
/// A session that begins gets a snapshot no older than this: the database changes by other ways too.
const FRESH: Duration = Duration::from_secs(1);
/// A connection left idle is closed before `DROP DATABASE` gives up waiting for it (5 s).
const IDLE: Duration = Duration::from_secs(2);

/// Why a catalog could not be read. For the operator's log; clients get [`ClientError`].
#[derive(Debug, thiserror::Error)]
pub enum UpstreamError {
    /// Refused by, or lost on the way to, the server.
    #[error("{}", describe(.0))]
    Database(#[from] tokio_postgres::Error),
    /// There is no connection.
    #[error("{0}")]
    Login(#[from] LoginError),
    /// No answer in time.
    #[error("no answer within the time limit")]
    Timeout,
}

impl From<UpstreamError> for ClientError {
    fn from(_: UpstreamError) -> Self {
        Self::new(
            "58000",
            "the proxy cannot read this database's catalog",
            "See the proxy's log; its catalog user must be able to connect to this database.",
        )
    }
}

/// The catalogs of all databases that sessions have asked for.
pub struct Catalogs {
    server: Arc<Server>,
    login: tokio_postgres::Config,
    policy: Arc<Policy>,
    shares: Arc<Shares>,
    /// Remembers databases, where the proxy has a store.
    state: Option<Arc<State>>,
    databases: Mutex<HashMap<String, Arc<CatalogCell>>>,
}

/// One database's catalog.
pub struct CatalogCell {
    database: String,
    /// The snapshot that new plans are made for.
    pub current: ArcSwap<Catalog>,
    key_check: ArcSwap<Verdict>,
    /// It had no protected table when it was looked at, so what a session puts into new ones is its own.
    bare: AtomicBool,
    /// A session has made protected tables since.
    founded: AtomicBool,
    /// Loads are numbered when asked for, so that one load serves all who asked before it began.
    asked: AtomicU64,
    loader: Arc<tokio::sync::Mutex<Loader>>,
}

#[derive(Default)]
struct Loader {
    client: Option<Client>,
    uses: u64,
    served: u64,
    loaded_at: Option<Instant>,
    /// The fingerprint of what was loaded, or of something older.
    fingerprint: Option<Fingerprint>,
}

impl CatalogCell {
    /// Refuses what needs keys where the database's check value is missing or another one.
    pub fn check_keys(&self) -> Result<(), ClientError> {
        match **self.key_check.load() {
            Verdict::Agrees => Ok(()),
            Verdict::Differs => Err(ClientError::refused(
                Code::ForeignKeys,
                "this database was encrypted under another tenant key than this proxy's",
                "Connect to the tenant's own database, or through the proxy of that database's tenant.",
            )),
            Verdict::Missing => Err(ClientError::refused(
                Code::CheckValueMissing,
                "this database had the tenant key's check value, and has it no longer",
                "Find out why; then stop the proxy, and run trefoil-proxy write-check-value.",
            )),
            Verdict::Unproven => Err(ClientError::refused(
                Code::CheckValueMissing,
                "this database may hold cells, and no check value says by which tenant key",
                "If they are this tenant's, stop the proxy, and run trefoil-proxy write-check-value.",
            )),
        }
    }

    /// A session makes protected tables, perhaps with rows in the same transaction.
    pub fn founds_tables(&self) {
        if self.bare.load(Ordering::Acquire) {
            self.founded.store(true, Ordering::Release);
        }
    }
}

impl Catalogs {
    /// For databases of this server; the one in `login` is replaced by each session's own.
    pub fn new(
        server: Arc<Server>,
        mut login: tokio_postgres::Config,
        policy: Arc<Policy>,
        shares: Arc<Shares>,
        state: Option<Arc<State>>,
    ) -> Self {
        login.application_name("trefoil-proxy");
        Self { server, login, policy, shares, state, databases: Mutex::default() }
    }

    /// What keeps databases from being served, in words.
    pub fn key_faults(&self) -> Vec<String> {
        let databases = self.databases.lock().unwrap_or_else(PoisonError::into_inner);
        let fault = |cell: &Arc<CatalogCell>| {
            cell.check_keys().err().map(|error| format!("database {:?}: {}", cell.database, error.message))
        };
        let mut faults: Vec<String> = databases.values().filter_map(fault).collect();
        faults.sort();
        faults
    }

    /// The catalog of a database, for a session that begins: loaded if it is not fresh.
    pub async fn get(&self, database: &str) -> Result<Arc<CatalogCell>, UpstreamError> {
        let cell = self.cell(database);
        self.refresh(&cell, Some(FRESH)).await?;
        Ok(cell)
    }

    /// Loads a database's catalog anew: what was committed before the call is in it. The snapshot stays
    /// the same where nothing has changed.
    pub async fn reload(&self, database: &str) -> Result<(), UpstreamError> {
        self.refresh(&self.cell(database), None).await
    }

    /// Loads the catalogs of all databases that sessions use anew.
    pub async fn reload_all(&self) {
        for cell in self.in_use() {
            // What went wrong is in the log.
            self.refresh(&cell, None).await.ok();
        }
    }

    /// Looks at the catalogs of all databases that sessions use, again and again, for DDL that went
    /// past the proxy.
    pub async fn poll(self: Arc<Self>, every: Duration) {
        let mut ticks = tokio::time::interval(every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            panic_point("catalog.poll", b"poll");
            if self.policy.is_empty() {
                continue;
            }
            for cell in self.in_use() {
                let catalogs = Arc::clone(&self);
                tokio::spawn(async move { catalogs.look_at(&cell).await });
            }
        }
    }

    /// Sessions hold the cells of their databases.
    fn in_use(&self) -> Vec<Arc<CatalogCell>> {
        let databases = self.databases.lock().unwrap_or_else(PoisonError::into_inner);
        databases.values().filter(|cell| Arc::strong_count(cell) > 1).cloned().collect()
    }

    async fn look_at(&self, cell: &CatalogCell) {
        // Whoever has the loader loads, or looks already.
        let Ok(mut loader) = cell.loader.try_lock() else { return };
        panic_point("catalog.look", cell.database.as_bytes());
        let Loader { client: kept, fingerprint, .. } = &mut *loader;
        let looked = async {
            let client = match kept.take() {
                Some(client) if !client.is_closed() => client,
                _ => self.connect(&cell.database).await?,
            };
            let client = kept.insert(client);
            let found = match fingerprint {
                Some(known) => known.read_again(client).await?,
                None => Fingerprint::read(client).await?,
            };
            self.compare_keys(cell, client, &cell.current.load_full()).await?;
            Ok::<_, UpstreamError>(found)
        };
        match tokio::time::timeout(LOAD_TIMEOUT, looked).await {
            Ok(Ok(found))
                if loader.fingerprint.as_ref().is_some_and(|known| known.is_of_same_catalog(&found)) =>
            {
                loader.fingerprint = Some(found);
                close_when_idle(&cell.loader, &mut loader);
            }
            Ok(Ok(_)) => {
                tracing::debug!(database = ?cell.database, "catalog changed past the proxy");
                drop(loader);
                // What went wrong is in the log.
                self.refresh(cell, None).await.ok();
            }
            Ok(Err(error)) => {
                loader.client = None;
                tracing::warn!(database = ?cell.database, %error, "catalog not looked at");
            }
            Err(_) => {
                loader.client = None;
                tracing::warn!(database = ?cell.database, "catalog not looked at in time");
            }
        }
    }

    /// A database's catalog, empty until it is first loaded.
    pub(crate) fn cell(&self, database: &str) -> Arc<CatalogCell> {
        let mut databases = self.databases.lock().unwrap_or_else(PoisonError::into_inner);
        let cell = databases.entry(database.to_owned()).or_insert_with(|| {
            Arc::new(CatalogCell {
                database: database.to_owned(),
                current: ArcSwap::from_pointee(Catalog::empty()),
                key_check: ArcSwap::from_pointee(Verdict::Agrees),
                bare: AtomicBool::new(false),
                founded: AtomicBool::new(false),
                asked: AtomicU64::new(0),
                loader: Arc::default(),
            })
        });
        Arc::clone(cell)
    }

    async fn refresh(&self, cell: &CatalogCell, fresh: Option<Duration>) -> Result<(), UpstreamError> {
        let ticket = cell.asked.fetch_add(1, Ordering::AcqRel) + 1;
        let mut loader = cell.loader.lock().await;
        let is_fresh = fresh.zip(loader.loaded_at).is_some_and(|(limit, at)| at.elapsed() < limit);
        if loader.served >= ticket || is_fresh {
            return Ok(());
        }
        let upto = cell.asked.load(Ordering::Acquire);
        let began = Instant::now();
        let outcome = match self.load(cell, &mut loader).await {
            // The kept connection may have died since its last use.
            Err(_) if loader.client.take_if(|client| client.is_closed()).is_some() => {
                self.load(cell, &mut loader).await
            }
            outcome => outcome,
        };
        match outcome {
            Ok(()) => {
                loader.served = upto;
                loader.loaded_at = Some(began);
                close_when_idle(&cell.loader, &mut loader);
                Ok(())
            }
            Err(error) => {
                loader.client = None;
                tracing::error!(database = ?cell.database, %error, "catalog not loaded");
                Err(error)
            }
        }
    }

    async fn load(&self, cell: &CatalogCell, loader: &mut Loader) -> Result<(), UpstreamError> {
        let loading = async {
            let mut client = match loader.client.take() {
                Some(client) if !client.is_closed() => client,
                _ => self.connect(&cell.database).await?,
            };
            // First: what changes between the two is loaded again, not missed.
            let loaded = async {
                let fingerprint = Fingerprint::read(&client).await?;
                Ok::<_, UpstreamError>((fingerprint, load::catalog(&mut client, &self.policy).await?))
            };
            let loaded = loaded.await;
            let client = loader.client.insert(client);
            let (fingerprint, catalog) = loaded?;
            self.compare_keys(cell, client, &catalog).await?;
            loader.fingerprint = Some(fingerprint);
            Ok::<_, UpstreamError>(catalog)
        };
        let catalog = match tokio::time::timeout(LOAD_TIMEOUT, loading).await {
            Ok(outcome) => outcome?,
            Err(_) => return Err(UpstreamError::Timeout),
        };
        if !cell.current.load().same_content(&catalog) {
            self.warn_of_mismatches(&cell.database, &catalog);
            cell.current.store(Arc::new(catalog));
        }
        Ok(())
    }

    async fn connect(&self, database: &str) -> Result<Client, UpstreamError> {
        let mut login = self.login.clone();
        Ok(self.server.log_in(login.dbname(database)).await?)
    }

    /// At each load, and each look whether one is due: whoever changes the check value changes no catalog.
    async fn compare_keys(
        &self,
        cell: &CatalogCell,
        client: &Client,
        catalog: &Catalog,
    ) -> Result<(), UpstreamError> {
        let own = self.shares.check_values();
        let bare = !self.policy.tables().any(|(name, _)| catalog.relation(name).is_some());
        let absent = match () {
            () if bare => Absent::Leave,
            () if cell.founded.load(Ordering::Acquire) => Absent::Write,
            () => Absent::WriteIfEmpty(catalog, &self.policy),
        };
        let verdict = key_check::verify(client, &own, self.state.as_ref(), absent).await?;
        cell.bare.store(bare, Ordering::Release);
        let before = cell.key_check.swap(Arc::new(verdict));
        match verdict {
            Verdict::Agrees => {}
            _ if verdict == *before => {}
            Verdict::Differs => tracing::error!(
                database = ?cell.database,
                "trefoil.key_check is not this tenant key's: the database belongs to another one, or the value \
                 was altered; every request that needs keys is refused"
            ),
            Verdict::Missing => tracing::error!(
                database = ?cell.database,
                "trefoil.key_check has lost the check value that was there, or cannot be read any more; every \
                 request that needs keys is refused"
            ),
            Verdict::Unproven => tracing::error!(
                database = ?cell.database,
                "trefoil.key_check is not there, and protected columns may hold values: whose is not known; every \
                 request that needs keys is refused until write-check-value"
            ),
        }
        Ok(())
    }

    /// A policy entry that misses its column leaves it unprotected: an operator must see that.
    fn warn_of_mismatches(&self, database: &str, catalog: &Catalog) {
        const BYTEA: u32 = 17;
        for column in self.policy.columns() {
            let Some(relation) = catalog.relation(&column.table) else { continue };
            let found = relation.columns.iter().flatten().find(|found| found.name == column.name);
            match found.map(|found| found.type_oid) {
                Some(BYTEA) => {}
                Some(_) => tracing::warn!(
                    ?database, table = %column.table, column = %column.name,
                    "protected column is not bytea: not migrated, statements that touch it are refused"
                ),
                None => tracing::warn!(
                    ?database, table = %column.table, column = %column.name,
                    "the policy protects a column that the table does not have"
                ),
            }
        }
    }
}

/// Reads the catalog of one database, by a connection for this purpose.
pub async fn read_catalog(
    server: &Server,
    login: &tokio_postgres::Config,
    policy: &Policy,
) -> Result<Catalog, UpstreamError> {
    let mut client = server.log_in(login).await?;
    Ok(load::catalog(&mut client, policy).await?)
}

fn close_when_idle(shared: &Arc<tokio::sync::Mutex<Loader>>, loader: &mut Loader) {
    loader.uses += 1;
    let uses = loader.uses;
    let shared = Arc::downgrade(shared);
    tokio::spawn(async move {
        tokio::time::sleep(IDLE).await;
        if let Some(loader) = shared.upgrade() {
            let mut loader = loader.lock().await;
            if loader.uses == uses {
                loader.client = None;
            }
        }
    });
}

/// The server's own words, which name at most objects of its catalog; else what went wrong on the way.
fn describe(error: &tokio_postgres::Error) -> String {
    match error.as_db_error() {
        Some(db) => format!("{} (SQLSTATE {})", db.message(), db.code().code()),
        None => error.to_string(),
    }
}
