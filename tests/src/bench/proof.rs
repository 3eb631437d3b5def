//! That what is measured does what it says: every way shows the values themselves, and Trefoil's database none.

use super::bulk;
use super::load::{Bulk, Load, Script, Work};
use super::pgbench::VALUES;
use super::variant::{Variant, Way};
use crate::endpoint::rows;
use crate::{Error, Result};

/// Looks at one person and one account of each, as they were put in; and at all of them where they are cells.
pub(super) fn filled(variant: &Variant) -> Result<()> {
    if variant.way == Way::Cells {
        let cells = "SELECT (SELECT count(*) FROM people WHERE position('Weber'::bytea IN name) > 0 \
             OR position('100'::bytea IN ssn) = 1 OR least(length(name), length(ssn), length(born)) < 20), \
             (SELECT count(*) FROM pgbench_accounts WHERE least(length(aid), length(abalance)) < 20)";
        return expect(variant, cells, &["0", "0"]);
    }
    let protection = variant.way.protection();
    let [name, balance] =
        [("name", "text"), ("abalance", "int")].map(|(name, kind)| protection.read(name, kind));
    let person = format!(
        "SELECT {name}, {}, {} FROM people WHERE ssn = {}",
        protection.read_deterministic("ssn"),
        protection.read("born", "date"),
        protection.deterministic("'100004711'"),
    );
    expect(variant, &person, &["Margarete Weber 4711", "100004711", "1952-11-24"])?;
    let account =
        format!("SELECT {balance} FROM pgbench_accounts WHERE aid = {}", protection.deterministic("4711"));
    expect(variant, &account, &["0"])
}

/// Looks at a row of those that the load has written.
pub(super) fn written(load: Load, variant: &Variant) -> Result<()> {
    let protection = variant.way.protection();
    let [name, born, note] = [("name", "text"), ("born", "date"), ("note", "text")]
        .map(|(name, kind)| protection.read(name, kind));
    match load.0 {
        Work::Bulk(Bulk::CopyIn) if variant.way != Way::Cells => {
            let ssn = protection.read_deterministic("ssn");
            let text = format!("SELECT {name}, {ssn}, {born} FROM arrivals WHERE id = 1");
            expect(variant, &text, &["Margarete Weber 1", "100000001", "1961-02-02"])
        }
        Work::Pgbench { script: Script::Insert, .. } => {
            let text = format!("SELECT {name}, {born}, {note} FROM visits LIMIT 1");
            expect(variant, &text, &VALUES.map(|(_, value)| value))
        }
        Work::Pgbench { script: Script::ReadWrite, .. } => {
            let text =
                format!("SELECT {} FROM tpcb.pgbench_history LIMIT 1", protection.read("delta", "int"));
            let found = first(variant, &text)?;
            let delta = found.iter().flatten().next().and_then(|delta| delta.parse::<i32>().ok());
            match delta {
                Some(-5000..=5000) => Ok(()),
                _ => Err(Error::new(format!("{}: {text} shows {found:?}", variant.way))),
            }
        }
        Work::Bulk(_) | Work::Pgbench { .. } => Ok(()),
    }
}

fn expect(variant: &Variant, text: &str, values: &[&str]) -> Result<()> {
    let found = first(variant, text)?;
    if found.iter().map(Option::as_deref).eq(values.iter().map(|value| Some(*value))) {
        return Ok(());
    }
    Err(Error::new(format!("{}: {text} shows {found:?}, not {values:?}", variant.way)))
}

/// The first row.
fn first(variant: &Variant, text: &str) -> Result<Vec<Option<String>>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let answers =
        runtime.block_on(async { Ok(bulk::connect(&variant.config()).await?.simple_query(text).await?) });
    let answers = answers.map_err(|error: Error| Error::new(format!("{}: {text}: {error}", variant.way)))?;
    Ok(rows(&answers).into_iter().next().unwrap_or_default())
}
