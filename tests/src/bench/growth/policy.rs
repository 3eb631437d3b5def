//! Policies of more and more tables.

use crate::Result;
use crate::bench::bulk;
use crate::bench::process::resident;
use crate::bench::setup::{SETTINGS, shares};
use crate::bench::svg::{Chart, Curve};
use crate::bench::variant::Way;
use crate::cluster::Cluster;
use crate::endpoint::Endpoint;
use crate::stack::{ProxyOptions, Stack};
use std::time::Instant;
use tokio_postgres::Config;

const TABLES: [u32; 4] = [1, 10, 100, 1000];
const STATEMENTS: u32 = 2000;
const FIRST: &str = "SELECT name FROM t1 WHERE ssn = 'nobody'";

/// With so many tables.
struct Point {
    /// The same straight to PostgreSQL: what of the times is its own.
    direct: Times,
    protected: Times,
    /// Of the proxy, in MiB.
    memory: f64,
}

struct Times {
    /// Login and one statement, in ms; the proxy reads the catalog for it.
    login: f64,
    /// A statement not seen before, in µs.
    statement: f64,
}

/// The first login, a statement not seen before, and the proxy's memory.
pub(super) fn measure() -> Result<Vec<Curve>> {
    let cluster = Cluster::scratch_with(SETTINGS)?;
    cluster.trust()?;
    let points = TABLES.iter().map(|tables| point(&cluster, *tables)).collect::<Result<Vec<_>>>()?;
    let series = |way: Way, figure: fn(&Point) -> f64| {
        (way.name().to_owned(), points.iter().map(|point| Some(figure(point))).collect())
    };
    let curve = |title: &str, unit: &str, series| Curve {
        chart: Chart { title: title.to_owned(), unit: unit.to_owned(), series },
        places: TABLES.map(f64::from).to_vec(),
        axis: "tables in the policy, of three protected columns each",
    };
    Ok(vec![
        curve(
            "First login with a policy",
            "ms",
            vec![
                series(Way::Direct, |point| point.direct.login),
                series(Way::Protected, |point| point.protected.login),
            ],
        ),
        curve(
            "Statement not seen before, with a policy",
            "µs",
            vec![
                series(Way::Direct, |point| point.direct.statement),
                series(Way::Protected, |point| point.protected.statement),
            ],
        ),
        curve(
            "Resident memory of the proxy with a policy",
            "MiB",
            vec![series(Way::Protected, |point| point.memory)],
        ),
    ])
}

fn point(cluster: &Cluster, tables: u32) -> Result<Point> {
    let name = format!("policy_{tables}");
    let database = cluster.create_database(&name)?;
    let (mut policy, mut schema) = (String::new(), String::new());
    for table in 1..=tables {
        schema += &format!("CREATE TABLE t{table} (id int PRIMARY KEY, name bytea, ssn bytea, born bytea);");
        policy += &format!(
            "[tables.\"public.t{table}\"]\nname = {{ type = \"text\", mode = \"randomized\" }}\n\
             ssn = {{ type = \"text\", mode = \"deterministic\" }}\nborn = {{ type = \"date\", mode = \"randomized\" }}\n"
        );
    }
    database.run(&schema)?;
    let options = ProxyOptions {
        policy: &policy,
        tenant: "policy",
        database: &database,
        recorder: None,
        configuration: "max_validity = 86400",
    };
    let stack = Stack::start(&cluster.directory().join("parts").join(&name), &options, &["alice"], 0)?;
    // The database's first session fills its caches for all that come after.
    database.run(FIRST)?;
    let direct = times(&config(&database), tables)?;
    let protected = times(config(&database.through(stack.proxy.port())).options(shares(&stack)?), tables)?;
    let memory = resident(stack.proxy.process().pid())? as f64 / 1024.0;
    Ok(Point { direct, protected, memory })
}

fn config(endpoint: &Endpoint) -> Config {
    let mut config = Config::new();
    config.host(&endpoint.host).port(endpoint.port).user(&endpoint.user).dbname(&endpoint.database);
    config
}

fn times(config: &Config, tables: u32) -> Result<Times> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let begun = Instant::now();
        let client = bulk::connect(config).await?;
        client.simple_query(FIRST).await?;
        let login = begun.elapsed();
        let begun = Instant::now();
        for number in 1..=STATEMENTS {
            let table = number % tables + 1;
            client.simple_query(&format!("SELECT name AS n{number} FROM t{table} WHERE id = 1")).await?;
        }
        let each = begun.elapsed() / STATEMENTS;
        Ok(Times { login: login.as_secs_f64() * 1e3, statement: each.as_secs_f64() * 1e6 })
    })
}
