//! The tables of all loads, and what fills them.

use super::bulk;
use super::variant::Protection;
use crate::Result;
use crate::endpoint::Endpoint;

/// The columns that loads touch, except where the database computes with them.
pub(super) const POLICY: &str = r#"
[tables."public.pgbench_accounts"]
aid = { type = "int4", mode = "deterministic" }
abalance = { type = "int4", mode = "randomized" }

[tables."tpcb.pgbench_accounts"]
aid = { type = "int4", mode = "deterministic", domain = "account" }

[tables."tpcb.pgbench_history"]
aid = { type = "int4", mode = "deterministic", domain = "account" }
delta = { type = "int4", mode = "randomized" }

[tables."public.people"]
name = { type = "text", mode = "randomized" }
ssn = { type = "text", mode = "deterministic" }
born = { type = "date", mode = "randomized" }

[tables."public.arrivals"]
name = { type = "text", mode = "randomized" }
ssn = { type = "text", mode = "deterministic" }
born = { type = "date", mode = "randomized" }

[tables."public.visits"]
name = { type = "text", mode = "randomized" }
ssn = { type = "text", mode = "deterministic" }
born = { type = "date", mode = "randomized" }
balance = { type = "int8", mode = "randomized" }
note = { type = "text", mode = "randomized" }
"#;

/// Accounts of the select-only load: pgbench's scale 1.
pub(super) const ACCOUNTS: u32 = 100_000;
/// pgbench's scale for its read-write load: more branches than clients.
pub(super) const SCALE: u32 = 10;
/// Rows of the table that is fetched from and copied.
pub(super) const PEOPLE: u32 = 100_000;

/// How many of them there are with this protection.
pub(super) fn people(protection: Protection) -> u32 {
    if protection == Protection::Pgcrypto { PEOPLE / 10 } else { PEOPLE }
}

/// Made in the clear, and copied through the proxy.
const COPIED: [&str; 5] =
    ["pgbench_accounts", "tpcb.pgbench_branches", "tpcb.pgbench_tellers", "tpcb.pgbench_accounts", "people"];

/// Makes all tables, with the same rows, in a plain database, those of pgcrypto, and through Trefoil.
pub(super) fn fill(plain: &Endpoint, pgcrypto: &[(&Endpoint, Protection)], trefoil: &Endpoint) -> Result<()> {
    plain.run(&tables(Protection::Transparent))?;
    plain.run(&rows(Protection::Transparent))?;
    for (database, protection) in pgcrypto {
        database.run("CREATE EXTENSION pgcrypto")?;
        database.run(&tables(*protection))?;
        database.run(&rows(*protection))?;
    }
    for statement in tables(Protection::Transparent).split(';') {
        trefoil.run(statement)?;
    }
    COPIED.iter().try_for_each(|table| bulk::copy_between(plain, trefoil, table))
}

/// Those of `pgbench -i`, and those of the other loads.
fn tables(protection: Protection) -> String {
    let [int, bigint, text, date] = ["int", "bigint", "text", "date"].map(|name| protection.column(name));
    let person = format!("name {text}, ssn {text}, born {date}");
    format!(
        "CREATE SCHEMA tpcb;
        CREATE TABLE pgbench_accounts (aid {int} PRIMARY KEY, bid int, abalance {int}, filler char(84));
        CREATE TABLE tpcb.pgbench_branches (bid int PRIMARY KEY, bbalance int, filler char(88));
        CREATE TABLE tpcb.pgbench_tellers (tid int PRIMARY KEY, bid int, tbalance int, filler char(84));
        CREATE TABLE tpcb.pgbench_accounts (aid {int} PRIMARY KEY, bid int, abalance int, filler char(84));
        CREATE TABLE tpcb.pgbench_history
            (tid int, bid int, aid {int}, delta {int}, mtime timestamp, filler char(22));
        CREATE TABLE people (id int PRIMARY KEY, name {text}, ssn {text} UNIQUE, born {date});
        CREATE TABLE arrivals (id int, {person});
        CREATE TABLE visits (id bigserial PRIMARY KEY, {person}, balance {bigint}, note {text})"
    )
}

/// pgcrypto would take minutes to encrypt all of it. So there are fewer people, and only some balances; but many of
/// them, because each has its key stretched by another random number of rounds.
fn rows(protection: Protection) -> String {
    let (key, people) = (protection.deterministic("n"), people(protection));
    format!(
        "INSERT INTO pgbench_accounts SELECT {key}, 1, balances[1 + n % 500], '' FROM
            generate_series(1, {ACCOUNTS}) n, (SELECT array_agg({} ORDER BY balance) balances FROM generate_series(1, 500) balance) b;
        INSERT INTO tpcb.pgbench_branches SELECT n, 0, '' FROM generate_series(1, {SCALE}) n;
        INSERT INTO tpcb.pgbench_tellers
            SELECT n, (n - 1) / 10 + 1, 0, '' FROM generate_series(1, 10 * {SCALE}) n;
        INSERT INTO tpcb.pgbench_accounts
            SELECT {key}, (n - 1) / 100000 + 1, 0, '' FROM generate_series(1, 100000 * {SCALE}) n;
        INSERT INTO people SELECT n, {}, {}, {} FROM generate_series(1, {people}) n",
        protection.randomized("balance"),
        protection.randomized("'Margarete Weber ' || n"),
        protection.deterministic("(100000000 + n)::text"),
        protection.randomized("date '1940-01-01' + n % 20000"),
    )
}
