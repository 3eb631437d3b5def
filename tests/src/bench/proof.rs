//! That what is measured does what it says: every way shows the values themselves, and Trefoil's database holds none.

use super::bulk;
use super::load::{Bulk, Load, Script, Work};
use super::pgbench::VALUES;
use super::variant::{Variant, Way};
use crate::endpoint::{Endpoint, rows};
use crate::{Error, Result};
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

/// Looks at one person and one account of each, as they were put in.
pub(super) fn filled(variant: &Variant) -> Result<()> {
    if variant.way == Way::Cells {
        sealed(&variant.database, "people", &["name", "ssn", "born"])?;
        sealed(&variant.database, "pgbench_accounts", &["aid", "abalance"])?;
        return sealed(&variant.database, "tpcb.pgbench_accounts", &["aid"]);
    }
    let protection = variant.way.protection();
    let (name, ssn) = (protection.read("name", "text"), protection.read_deterministic("ssn"));
    let by = |key: &str| format!("FROM people WHERE ssn = {}", protection.deterministic(key));
    let person = format!("SELECT {name}, {ssn}, {} {}", protection.read("born", "date"), by("'100004711'"));
    expect(variant, &person, &["Margarete Weber 4711", "100004711", "1952-11-24"])?;
    let balance = protection.read("abalance", "int");
    let account = protection.deterministic("4711");
    let account = format!("SELECT {balance} FROM pgbench_accounts WHERE aid = {account}");
    expect(variant, &account, &["212"])?;
    let person = prepared(variant, &format!("SELECT {name}, {ssn} {}", by("$1")), &"100004711")?;
    let person: [String; 2] = [person.try_get(0)?, person.try_get(1)?];
    let account =
        format!("SELECT {balance} FROM pgbench_accounts WHERE aid = {}", protection.deterministic("$1"));
    let key: &(dyn ToSql + Sync) = if protection.is_by_statement() { &"4711" } else { &4711 };
    let balance: i32 = prepared(variant, &account, key)?.try_get(0)?;
    if person == ["Margarete Weber 4711", "100004711"] && balance == 212 {
        return Ok(());
    }
    Err(Error::new(format!("{}: prepared statements show {person:?} and {balance}", variant.way)))
}

/// Looks at a row of those that the load has written, and at all of them where they are to be cells.
pub(super) fn written(load: Load, variant: &Variant) -> Result<()> {
    let protection = variant.way.protection();
    let read = |name, kind| protection.read(name, kind);
    let is_sealed = |table, columns: &[&str]| match variant.way.is_protected() {
        true => sealed(&variant.database, table, columns),
        false => Ok(()),
    };
    match load.0 {
        Work::Bulk(Bulk::CopyIn) if variant.way != Way::Cells => {
            is_sealed("arrivals", &["name", "ssn", "born"])?;
            let ssn = protection.read_deterministic("ssn");
            let (name, born) = (read("name", "text"), read("born", "date"));
            let text = format!("SELECT {name}, {ssn}, {born} FROM arrivals WHERE id = 1");
            expect(variant, &text, &["Margarete Weber 1", "100000001", "1961-02-02"])
        }
        Work::Pgbench { script: Script::Insert, .. } => {
            is_sealed("visits", &["name", "ssn", "born", "balance", "note"])?;
            let (name, born, note) = (read("name", "text"), read("born", "date"), read("note", "text"));
            let text = format!("SELECT {name}, {born}, {note} FROM visits LIMIT 1");
            expect(variant, &text, &VALUES.map(|(_, value)| value))
        }
        Work::Pgbench { script: Script::ReadWrite, .. } => {
            is_sealed("tpcb.pgbench_history", &["aid", "delta"])?;
            let text = format!("SELECT {} FROM tpcb.pgbench_history LIMIT 1", read("delta", "int"));
            let found = first(variant, &text)?;
            let delta = found.iter().flatten().find_map(|delta| delta.parse::<i32>().ok());
            if delta.is_none_or(|delta| delta.abs() > 5000) {
                return Err(Error::new(format!("{}: {text} shows {found:?}", variant.way)));
            }
            // Of all accounts, by their protected numbers.
            let sums = "SELECT (SELECT sum(abalance) FROM tpcb.pgbench_accounts) = \
                (SELECT sum(bbalance) FROM tpcb.pgbench_branches)";
            holds(&variant.database, sums)
        }
        Work::Bulk(_) | Work::Pgbench { .. } => Ok(()),
    }
}

/// Fails unless there are rows, and all of these columns hold cells, by their length and first byte.
fn sealed(database: &Endpoint, table: &str, columns: &[&str]) -> Result<()> {
    let each = |column: &&str| format!("octet_length({column}) >= 18 AND get_byte({column}, 0) IN (17, 18)");
    let all = columns.iter().map(each).collect::<Vec<_>>().join(" AND ");
    holds(database, &format!("SELECT count(*) > 0 AND bool_and({all}) FROM {table}"))
}

fn holds(database: &Endpoint, text: &str) -> Result<()> {
    let found = database.run(text)?;
    if found.iter().flatten().map(Option::as_deref).eq([Some("t")]) {
        return Ok(());
    }
    Err(Error::new(format!("database {}: {text}: it is not so", database.database)))
}

fn expect(variant: &Variant, text: &str, values: &[&str]) -> Result<()> {
    let found = first(variant, text)?;
    if found.iter().map(Option::as_deref).eq(values.iter().map(|value| Some(*value))) {
        return Ok(());
    }
    Err(Error::new(format!("{}: {text} shows {found:?}, not {values:?}", variant.way)))
}

/// The first row, by a simple query.
fn first(variant: &Variant, text: &str) -> Result<Vec<Option<String>>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let answers =
        runtime.block_on(async { Ok(bulk::connect(&variant.config()).await?.simple_query(text).await?) });
    let answers = answers.map_err(|error: Error| Error::new(format!("{}: {text}: {error}", variant.way)))?;
    Ok(rows(&answers).into_iter().next().unwrap_or_default())
}

/// The only row, by a prepared statement with a parameter.
fn prepared(variant: &Variant, text: &str, key: &(dyn ToSql + Sync)) -> Result<Row> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let found = runtime
        .block_on(async { Ok(bulk::connect(&variant.config()).await?.query_one(text, &[key]).await?) });
    found.map_err(|error: Error| Error::new(format!("{}: {text}: {error}", variant.way)))
}
