//! What is measured: one PostgreSQL, and everything in front of it.

use super::data;
use super::pooler::Pooler;
use super::proof;
use super::variant::{Protection, Variant, Way};
use crate::Result;
use crate::authority::Authority;
use crate::cluster::Cluster;
use crate::endpoint::Endpoint;
use crate::stack::{ProxyOptions, Stack};

/// The user whom the sidecars act for.
const USER: &str = "alice";

/// No checkpoint and no vacuum starts in the middle of a run; everything fits into memory. Beside that the
/// server's own settings, but for `fsync` and `synchronous_commit`, which are off in every throwaway cluster.
pub(super) const SETTINGS: &[(&str, &str)] = &[
    ("log_statement", "none"),
    ("log_error_verbosity", "default"),
    ("shared_buffers", "2GB"),
    ("max_wal_size", "16GB"),
    ("checkpoint_timeout", "1d"),
    ("autovacuum", "off"),
    // The first way to touch a page would log it for the others.
    ("full_page_writes", "off"),
    ("wal_level", "minimal"),
    ("max_wal_senders", "0"),
    // PgBouncer keeps as many as it had clients.
    ("max_connections", "2400"),
];

/// Everything that runs; dropped in this order: whoever uses a part goes first.
pub(super) struct Setup {
    pub(super) variants: Vec<Variant>,
    _pooler: Pooler,
    _unprotected: Stack,
    _protected: Stack,
    cluster: Cluster,
}

impl Setup {
    /// Starts all of it, and fills the tables.
    pub(super) fn start() -> Result<Self> {
        println!("starting PostgreSQL, PgBouncer and two tenants, and filling four databases");
        let cluster = Cluster::scratch_with(SETTINGS)?;
        cluster.trust()?;
        let dir = cluster.directory().join("parts");
        let certified = Authority::new(&dir.join("authority"))?.certify(&["localhost"])?;
        let pooler = Pooler::start(&cluster.directory().join("pgbouncer"), cluster.endpoint(), &certified)?;
        let stack = |name: &str, policy: &str| {
            let options = ProxyOptions {
                policy,
                tenant: name,
                database: cluster.endpoint(),
                recorder: None,
                configuration: "max_validity = 86400",
            };
            Stack::start(&dir.join(name), &options, &[USER], 1)
        };
        let (unprotected, protected) = (stack("none", "")?, stack("cells", data::POLICY)?);
        let plain = cluster.create_database("plain")?;
        let cells = cluster.create_database("cells")?;
        let pgcrypto = cluster.create_database("pgcrypto")?;
        let unstretched = cluster.create_database("unstretched")?;
        let options = shares(&protected)?;
        let mut variants = Vec::new();
        for way in Way::ALL {
            let stack = if way.is_protected() { &protected } else { &unprotected };
            let proxy = (stack.proxy.port(), stack.proxy.process().pid());
            let sidecar = stack.acting.first().map(|sidecar| (sidecar.port(), sidecar.process().pid()));
            let (database, stages) = match way {
                Way::Direct => (&plain, vec![]),
                Way::Cells => (&cells, vec![]),
                Way::Pgcrypto => (&pgcrypto, vec![]),
                Way::PgcryptoUnstretched => (&unstretched, vec![]),
                Way::PgBouncer => (&plain, vec![(pooler.port(), pooler.pid())]),
                Way::NoPolicy => (&plain, vec![proxy]),
                Way::Protected => (&cells, vec![proxy]),
                Way::NoPolicySidecar => (&plain, [proxy].into_iter().chain(sidecar).collect()),
                Way::ProtectedSidecar => (&cells, [proxy].into_iter().chain(sidecar).collect()),
            };
            variants.push(Variant {
                way,
                database: database.clone(),
                endpoint: stages.last().map_or_else(|| database.clone(), |(port, _)| database.through(*port)),
                options: (way == Way::Protected).then(|| options.clone()),
                between: stages.iter().map(|(_, pid)| *pid).collect(),
            });
        }
        let through = |way| variants.iter().find(|variant: &&Variant| variant.way == way);
        let trefoil = through(Way::ProtectedSidecar).map_or(&cells, |variant| &variant.endpoint);
        data::fill(
            &plain,
            &[(&pgcrypto, Protection::Pgcrypto), (&unstretched, Protection::PgcryptoUnstretched)],
            trefoil,
        )?;
        for database in [&plain, &cells, &pgcrypto, &unstretched] {
            database.run("VACUUM ANALYZE")?;
        }
        cluster.checkpoint()?;
        variants.iter().try_for_each(proof::filled)?;
        Ok(Self { variants, _pooler: pooler, _unprotected: unprotected, _protected: protected, cluster })
    }

    /// Straight to PostgreSQL.
    pub(super) fn endpoint(&self) -> &Endpoint {
        self.cluster.endpoint()
    }

    /// Where files of a run may lie.
    pub(super) fn directory(&self) -> std::path::PathBuf {
        self.cluster.directory().join("parts")
    }
}

/// A connection's `options` by which the user's shares come in settings.
pub(super) fn shares(stack: &Stack) -> Result<String> {
    let envelope = stack.tenant.envelope(USER, &["--lifetime", "86400"])?;
    let share = stack.tenant.application_share(USER)?;
    Ok(format!("-c trefoil.user={USER} -c trefoil.envelope={envelope} -c trefoil.app_share={share}"))
}
