//! Policies of more and more tables.

use crate::Result;
use crate::bench::bulk;
use crate::bench::process::resident;
use crate::bench::setup::{SETTINGS, shares};
use crate::bench::svg::{Chart, Curve};
use crate::cluster::Cluster;
use crate::stack::{ProxyOptions, Stack};
use std::time::Instant;

const TABLES: [u32; 4] = [1, 10, 100, 1000];
const STATEMENTS: u32 = 2000;

/// The first login, which reads the catalog; a statement not seen before; the proxy's memory.
pub(super) fn measure() -> Result<Vec<Curve>> {
    let cluster = Cluster::scratch_with(SETTINGS)?;
    cluster.trust()?;
    let mut figures: [Vec<Option<f64>>; 3] = Default::default();
    for tables in TABLES {
        for (values, figure) in figures.iter_mut().zip(one(&cluster, tables)?) {
            values.push(Some(figure));
        }
    }
    let names = [
        ("First login with a policy", "ms"),
        ("Statement not seen before, with a policy", "µs"),
        ("Resident memory of the proxy with a policy", "MiB"),
    ];
    let curves = names.into_iter().zip(figures).map(|((title, unit), values)| Curve {
        chart: Chart {
            title: title.to_owned(),
            unit: unit.to_owned(),
            series: vec![("protected".to_owned(), values)],
        },
        places: TABLES.map(f64::from).to_vec(),
        axis: "tables in the policy, of three protected columns each",
    });
    Ok(curves.collect())
}

fn one(cluster: &Cluster, tables: u32) -> Result<[f64; 3]> {
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
    let shares = shares(&stack)?;
    let mut config = tokio_postgres::Config::new();
    config.host(&database.host).port(stack.proxy.port()).user(&database.user).dbname(&database.database);
    config.options(shares);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let begun = Instant::now();
        let client = bulk::connect(&config).await?;
        client.simple_query("SELECT name FROM t1 WHERE ssn = 'nobody'").await?;
        let login = begun.elapsed();
        let begun = Instant::now();
        for number in 1..=STATEMENTS {
            let table = number % tables + 1;
            client.simple_query(&format!("SELECT name AS n{number} FROM t{table} WHERE id = 1")).await?;
        }
        let each = begun.elapsed() / STATEMENTS;
        let size = resident(stack.proxy.process().pid())? as f64 / 1024.0;
        Ok([login.as_secs_f64() * 1e3, each.as_secs_f64() * 1e6, size])
    })
}
