//! The scenes: what the user sees, what the database holds, and what happens to those who have no
//! right to see.

use crate::Parts;
use crate::clinic::{self, Row};
use crate::screen::{Screen, Table};
use std::fs;
use std::path::Path;
use std::time::SystemTime;
use tokio_postgres::Client;
use trefoil_tests::cluster::Cluster;
use trefoil_tests::endpoint::{Endpoint, rows};
use trefoil_tests::leak::{Marker, Search};
use trefoil_tests::tenant::Tenant;
use trefoil_tests::{Error, Result};

const ALL_PATIENTS: &str =
    "SELECT id, ward, name, ssn, born, phone, insurance, balance, allergies FROM patients ORDER BY id";

/// Plays all scenes.
pub(crate) async fn play(parts: &Parts, screen: &mut Screen) -> Result<()> {
    fill(parts, screen).await?;
    side_by_side(parts, screen).await?;
    equality(parts, screen).await?;
    operator(parts, screen)?;
    without_a_share(parts, screen).await?;
    expired(parts, screen).await?;
    read_only(parts, screen).await?;
    another_tenant(parts, screen).await?;
    tampered(parts, screen).await?;
    withdrawn(parts, screen).await
}

async fn fill(parts: &Parts, screen: &mut Screen) -> Result<()> {
    screen.title("The clinic creates its schema and its rows, through the sidecar, as plain SQL");
    for line in clinic::SCHEMA.trim().lines() {
        screen.statement(line);
    }
    let alice = parts.alice.connect().await?;
    alice.batch_execute(clinic::SCHEMA).await?;
    let patients = clinic::patients();
    // The first half as parameters in the extended protocol, the rest as literals in simple queries.
    let insert = alice
        .prepare(
            "INSERT INTO patients (id, ward, name, ssn, phone, insurance) VALUES ($1, $2, $3, $4, $5, $6)",
        )
        .await?;
    let half = patients.len() / 2;
    for row in patients.iter().take(half) {
        let [id, ward, name, ssn, born, phone, insurance, balance, allergies] = &row[..] else { continue };
        let number = |value: &Option<String>| value.as_ref().and_then(|value| value.parse::<i64>().ok());
        let id = number(id).and_then(|id| i32::try_from(id).ok());
        alice.execute(&insert, &[&id, ward, name, ssn, phone, &number(insurance)]).await?;
        let rest = [born, balance, allergies].map(literal);
        let [born, balance, allergies] = &rest;
        let update =
            format!("UPDATE patients SET born = {born}, balance = {balance}, allergies = {allergies}");
        alice.batch_execute(&format!("{update} WHERE ssn = {}", literal(ssn))).await?;
    }
    let rest: Vec<Row> = patients.into_iter().skip(half).collect();
    let visits = clinic::visits();
    alice.batch_execute(&insert_text("patients", &rest)).await?;
    alice.batch_execute(&insert_text("visits", &visits)).await?;
    let counted = ask(&alice, "SELECT count(*) FROM patients").await?;
    let all = vec![vec![Some(clinic::PATIENTS.to_string())]];
    let text = format!("{} patients and {} visits are stored", clinic::PATIENTS, visits.len());
    screen.promise(&text, counted == all);
    Ok(())
}

fn literal(value: &Option<String>) -> String {
    value.as_ref().map_or("NULL".to_owned(), |value| format!("'{}'", value.replace('\'', "''")))
}

fn insert_text(table: &str, rows: &[Row]) -> String {
    let row = |row: &Row| format!("({})", row.iter().map(literal).collect::<Vec<_>>().join(", "));
    format!("INSERT INTO {table} VALUES {}", rows.iter().map(row).collect::<Vec<_>>().join(", "))
}

async fn side_by_side(parts: &Parts, screen: &mut Screen) -> Result<()> {
    screen.title("The same rows: what alice sees, and what the database holds");
    let statement =
        "SELECT id, name, ssn, born, balance FROM patients WHERE id BETWEEN 55 AND 66 ORDER BY id";
    screen.statement(statement);
    let alice = parts.alice.connect().await?;
    let direct = parts.direct.connect().await?;
    let seen = ask(&alice, statement).await?;
    let held = ask(&direct, statement).await?;
    let columns = ["id", "name", "ssn", "born", "balance"];
    screen.side_by_side(
        &Table { title: "alice, through the application", columns: &columns, rows: &seen, cut: 26 },
        &Table { title: "the operator of the database", columns: &columns, rows: &held, cut: 15 },
    );
    let all = ask(&alice, ALL_PATIENTS).await?;
    screen.promise("alice sees every value of every row as it was entered", all == clinic::patients());
    let bob = ask(&parts.bob.connect().await?, ALL_PATIENTS).await?;
    screen.promise("bob, with shares of his own, sees the same", bob == all);
    let cells = ask(&direct, ALL_PATIENTS).await?;
    let cells = cells.iter().flat_map(|row| row.iter().skip(2).flatten());
    let sealed = cells.clone().all(|cell| cell.starts_with("\\x1") && cell.len() >= 2 + 2 * 18);
    screen.promise(
        &format!("the database holds {} cells in these columns, all of them sealed", cells.count()),
        sealed,
    );
    Ok(())
}

async fn equality(parts: &Parts, screen: &mut Screen) -> Result<()> {
    screen.title("SQL means what it meant");
    let alice = parts.alice.connect().await?;
    let ssn = clinic::ssn(58);
    let statement = "SELECT name, ward FROM patients WHERE ssn = $1";
    screen.statement(&format!("{statement}     -- $1 = '{ssn}'"));
    let found = alice.query(statement, &[&ssn]).await?;
    let expected = clinic::patients().into_iter().find(|row| row.get(3) == Some(&Some(ssn.clone())));
    let name = found.first().map(|row| row.get::<_, Option<String>>(0));
    screen.promise(
        "a parameter finds its row",
        found.len() == 1 && name.as_ref() == expected.as_ref().and_then(|row| row.get(2)),
    );

    let join = "SELECT p.name, v.diagnosis, v.seen FROM patients p JOIN visits v ON v.patient_ssn = p.ssn \
                WHERE p.id IN (3, 4, 5, 6, 7) ORDER BY v.id";
    screen.statement(join);
    let joined = ask(&alice, join).await?;
    let held = ask(&parts.direct.connect().await?, join).await?;
    let columns = ["name", "diagnosis", "seen"];
    screen.side_by_side(
        &Table { title: "alice", columns: &columns, rows: &joined, cut: 30 },
        &Table { title: "the operator", columns: &columns, rows: &held, cut: 15 },
    );
    let of_them = |row: &&Row| (3..=7).any(|id| row.get(1) == Some(&Some(clinic::ssn(id))));
    let visits = clinic::visits();
    let expected: Vec<_> = visits.iter().filter(of_them).filter_map(|row| row.get(3)).collect();
    let seen: Vec<_> = joined.iter().filter_map(|row| row.get(1)).collect();
    screen.promise("a join over encrypted columns finds its rows", seen == expected);
    let refused = "SELECT name FROM patients WHERE upper(name) = 'ZOË WEBER'";
    screen.statement(refused);
    let error = failure(&alice, refused).await;
    screen.say(&error);
    screen.promise(
        "what cannot mean the same is refused, and names the column",
        error.contains("0A000") && error.contains("name"),
    );
    Ok(())
}

fn operator(parts: &Parts, screen: &mut Screen) -> Result<()> {
    screen.title("What else the operator has: the server's log, with all parameters, and its files");
    let log = parts.cluster.log();
    for line in log.lines().filter(|line| line.contains("UPDATE patients") || line.contains("$4 =")).take(3) {
        let text: String = line.chars().skip_while(|character| *character != ']').skip(9).take(130).collect();
        screen.say(&format!("{text}…"));
    }
    let mut markers = Vec::new();
    for row in clinic::patients() {
        // Wards are not protected; short values turn up by chance.
        markers.extend(row.into_iter().skip(2).flatten().filter(|value| value.len() >= 9));
    }
    markers.extend(clinic::visits().into_iter().filter_map(|row| row.into_iter().nth(3)?));
    markers.sort();
    markers.dedup();
    let mut evidence = vec![log.into_bytes()];
    files(&parts.cluster, &mut evidence)?;
    let megabytes = evidence.iter().map(Vec::len).sum::<usize>() / 1_000_000;
    let searched: Vec<Marker> = markers.iter().map(|value| Marker::text(value)).collect();
    let search = Search::new(&searched, 8)?;
    let found = evidence.iter().any(|bytes| !search.leaks(bytes).is_empty());
    let text = format!(
        "none of {} values is in {megabytes} MB of log, tables and WAL: not as text, hex, base64, UTF-16",
        markers.len()
    );
    screen.promise(&text, !found);
    let control = Search::new([&Marker::text("Paediatrics")], 8)?;
    let seen = evidence.iter().any(|bytes| !control.leaks(bytes).is_empty());
    screen.promise("a column that is not protected is there, so the search would have found them", seen);
    Ok(())
}

fn files(cluster: &Cluster, evidence: &mut Vec<Vec<u8>>) -> Result<()> {
    fn walk(directory: &Path, evidence: &mut Vec<Vec<u8>>) -> Result<()> {
        for entry in fs::read_dir(directory)?.flatten() {
            if entry.path().is_dir() {
                walk(&entry.path(), evidence)?;
            } else if let Ok(bytes) = fs::read(entry.path()) {
                evidence.push(bytes);
            }
        }
        Ok(())
    }
    cluster.checkpoint()?;
    walk(&cluster.data(), evidence)
}

const SECRET: &str = "SELECT name, ssn FROM patients WHERE id = 7";

async fn without_a_share(parts: &Parts, screen: &mut Screen) -> Result<()> {
    screen.title("Without a share");
    screen.statement(SECRET);
    let nobody = parts.through_proxy.connect().await?;
    refused(screen, &failure(&nobody, SECRET).await, "28000", "nothing is shown");
    let write = "UPDATE patients SET name = 'x' WHERE id = 7";
    screen.statement(write);
    refused(screen, &failure(&nobody, write).await, "28000", "nothing is written");
    let count = ask(&nobody, "SELECT ward, count(*) FROM patients GROUP BY ward").await?;
    screen.promise("what needs no key still works: patients by ward", count.len() == 5);
    Ok(())
}

async fn expired(parts: &Parts, screen: &mut Screen) -> Result<()> {
    screen.title("With an expired envelope");
    let hour_ago =
        SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |now| now.as_secs() - 3600);
    let envelope = parts.tenant.envelope("alice", &["--issued-at", &hour_ago.to_string()])?;
    let error = ask_with(&parts.application, "alice", &envelope, screen).await;
    screen.promise(
        "the application still holds it, and gets nothing",
        error.contains("28000") && error.contains("expired"),
    );
    let envelope = parts.tenant.envelope("alice", &[])?;
    let answer = ask_with(&parts.application, "alice", &envelope, screen).await;
    screen.promise("with a fresh one it is answered", answer.contains(&clinic::ssn(7)));
    Ok(())
}

async fn read_only(parts: &Parts, screen: &mut Screen) -> Result<()> {
    screen.title("With an envelope that alice made for reading only");
    let envelope = parts.tenant.envelope("alice", &["--scope", "read"])?;
    let client = parts.application.connect().await?;
    let write = "DELETE FROM patients WHERE id = 7";
    screen.statement(write);
    let error = failure(&client, &with_comment("alice", &envelope, write)).await;
    refused(screen, &error, "42501", "a malicious application cannot write with it");
    Ok(())
}

async fn another_tenant(parts: &Parts, screen: &mut Screen) -> Result<()> {
    screen.title("With a share of another tenant");
    let dir = parts.cluster.directory().join("other-tenant");
    let other = Tenant::offline(&dir, "other", &["alice"])?;
    let sealed_for_us = other.user_bundle_for("alice", &parts.tenant)?;
    for (envelope, promise) in [
        (other.envelope("alice", &[])?, "sealed for the other tenant's proxy: rejected"),
        (
            other.envelope_from(&sealed_for_us, &[])?,
            "sealed for this proxy: the key that comes out is not the tenant's, rejected",
        ),
    ] {
        let error = ask_with(&parts.application, "alice", &envelope, screen).await;
        screen.promise(promise, error.contains("28000") && !error.contains("expired"));
    }
    Ok(())
}

async fn tampered(parts: &Parts, screen: &mut Screen) -> Result<()> {
    screen.title("When the operator tampers with a cell");
    let direct = parts.direct.connect().await?;
    let swap = "UPDATE patients SET name = set_byte(name, 20, get_byte(name, 20) # 1) WHERE id = 9";
    screen.statement(swap);
    direct.batch_execute(swap).await?;
    let error = failure(&parts.alice.connect().await?, "SELECT name FROM patients WHERE id = 9").await;
    screen.say(&error);
    let named = error.contains("XX001") && error.contains("patients") && error.contains("name");
    screen.promise("alice is told which column, and sees no forged value", named);
    let plain = "UPDATE patients SET name = 'plain text' WHERE id = 9";
    screen.statement(plain);
    let error = failure(&direct, plain).await;
    refused(screen, &error, "23514", "the table itself takes nothing but cells");
    Ok(())
}

async fn withdrawn(parts: &Parts, screen: &mut Screen) -> Result<()> {
    screen.title("When bob is withdrawn, in the middle of his session");
    let bob = parts.bob.connect().await?;
    screen.promise("before: bob is answered", ask(&bob, SECRET).await?.len() == 1);
    screen.statement("$ trefoil-admin user withdraw bob --push");
    parts.tenant.withdraw("bob")?;
    let error = failure(&bob, SECRET).await;
    screen.statement(SECRET);
    refused(screen, &error, "28000", "after: bob gets nothing, though his envelopes are young");
    let alice = ask(&parts.alice.connect().await?, SECRET).await?;
    screen.promise("alice goes on", alice.len() == 1);
    Ok(())
}

fn refused(screen: &mut Screen, error: &str, code: &str, promise: &str) {
    screen.say(error);
    screen.promise(promise, error.contains(code));
}

fn with_comment(user: &str, envelope: &str, statement: &str) -> String {
    format!("/*trefoil_user='{user}',trefoil_envelope='{envelope}'*/ {statement}")
}

/// Asks the secret question with an envelope in a comment; returns the answer or the error.
async fn ask_with(endpoint: &Endpoint, user: &str, envelope: &str, screen: &Screen) -> String {
    let short: String = envelope.chars().take(24).collect();
    screen.statement(&with_comment(user, &format!("{short}…"), SECRET));
    let asked = async { ask(&endpoint.connect().await?, &with_comment(user, envelope, SECRET)).await };
    let answer = match asked.await {
        Ok(rows) => rows.iter().flatten().flatten().cloned().collect::<Vec<_>>().join("  "),
        Err(error) => format!("ERROR {error}"),
    };
    screen.say(&answer);
    answer
}

async fn ask(client: &Client, statement: &str) -> Result<Vec<Row>> {
    Ok(rows(&client.simple_query(statement).await?))
}

/// The error that a statement gives; empty when it gives none.
async fn failure(client: &Client, statement: &str) -> String {
    match client.simple_query(statement).await {
        Ok(_) => String::new(),
        Err(error) => format!("ERROR {}", Error::from(error)),
    }
}
