//! The soak: writers, readers and clients that break off, for as long as wanted, while the database and the
//! proxy are killed. Half of them use a sidecar with TLS on both sides, and the proxy has TLS to the database.
//! At the end no acknowledged write is missing, no row is half encrypted, and no session has seen what another
//! asked for; the programs' memory has stopped to grow.

mod figures;
mod ledger;
mod memory;
mod vandal;
mod worker;

pub use figures::Figures;

use crate::authority::{Authority, Certified};
use crate::cluster::Cluster;
use crate::endpoint::Endpoint;
use crate::stack::{ProxyOptions, Stack};
use crate::{Error, Result, secured};
use memory::Memory;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// The policy of the table that is written.
const POLICY: &str = "[tables.\"public.ledger\"]\n\
    name = { type = \"text\", mode = \"randomized\" }\n\
    ssn = { type = \"text\", mode = \"deterministic\" }\n\
    amount = { type = \"int8\", mode = \"randomized\" }\n";

const TABLE: &str = "CREATE TABLE ledger (id bigint PRIMARY KEY, name text, ssn text, amount int8)";

const WORKERS: u64 = 6;

/// How long it is left in peace between two kills.
const PEACE: Duration = Duration::from_secs(12);

/// Runs for that long, and says what happened; an error if a promise was broken.
pub fn run(length: Duration) -> Result<Figures> {
    let cluster = Cluster::scratch()?;
    let authority = Authority::new(&cluster.directory().join("authority"))?;
    let certified = authority.certify(&["127.0.0.1"])?;
    cluster.offer_tls(&certified, &authority.file())?;
    let options = ProxyOptions {
        policy: POLICY,
        tenant: "soak",
        database: cluster.endpoint(),
        recorder: None,
        configuration: "",
    };
    let mut stack = Stack::start(&cluster.directory().join("parts"), &options, &["alice", "bob"], 2)?;
    secure(&mut stack, &certified, &authority.file())?;
    let direct = cluster.create_database("soak")?;
    // What was acknowledged outlives the server's processes, which are killed here.
    direct.run("ALTER DATABASE soak SET synchronous_commit = on")?;
    let [in_clear, under_tls] = stack.acting.as_slice() else { return Err(Error::new("not two sidecars")) };
    let secured = secured::start(under_tls.port(), &authority.file())?;
    let sidecars = [in_clear.port(), secured].map(|port| direct.through(port));
    let [first, _] = &sidecars;
    first.run(TABLE)?;

    let stop = Arc::new(AtomicBool::new(false));
    let mut workers = Vec::new();
    for (number, endpoint) in (1..=WORKERS).zip(sidecars.iter().cycle()) {
        let (endpoint, stop) = (endpoint.clone(), Arc::clone(&stop));
        workers.push(thread::spawn(move || worker::run(number, &endpoint, &stop)));
    }
    let vandals: Vec<_> = (sidecars.iter().chain([&direct.through(stack.proxy.port())]))
        .map(|endpoint| {
            let (endpoint, stop) = (endpoint.clone(), Arc::clone(&stop));
            thread::spawn(move || vandal::run(&endpoint, &stop))
        })
        .collect();
    let mut figures = Figures::default();
    let outcome = trouble(&mut stack, &direct, length, &mut figures);
    stop.store(true, Ordering::Release);
    let mut ledgers = Vec::new();
    for worker in workers {
        ledgers.push(worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?);
    }
    for vandal in vandals {
        figures.broken_off += vandal.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    }
    outcome?;
    settle(first)?;
    for ledger in &ledgers {
        figures.add(ledger);
        ledger.check(&first.run(&ledger.question())?)?;
    }
    check_cells(&direct)?;
    for part in [&stack.proxy].into_iter().chain(&stack.acting) {
        let log = part.process().output();
        if let Some(line) = log.lines().find(|line| line.contains("panic") || line.contains("defect")) {
            return Err(Error::new(format!("{} reports: {line}", part.process().name())));
        }
    }
    Ok(figures)
}

/// The proxy verifies the database's certificate; the second sidecar has TLS on both sides.
fn secure(stack: &mut Stack, certified: &Certified, authority: &Path) -> Result<()> {
    let verified = format!("tls = \"verify-full\"\nca = {authority:?}");
    stack.proxy.configure(&[("tls = \"disable\"".to_owned(), verified)])?;
    let Certified { certificate, key } = certified;
    let sections = format!(
        "[tls]\ncertificate = {certificate:?}\nkey = {key:?}\n\n[proxy_tls]\nmode = \"require\"\n\n[proxy_admin]"
    );
    let under_tls = stack.acting.last_mut().ok_or_else(|| Error::new("no sidecar acts for anybody"))?;
    under_tls.configure(&[("[proxy_admin]".to_owned(), sections)])
}

/// Kills the database's processes all the time, the proxy in the first half: in the second its memory is
/// watched.
fn trouble(stack: &mut Stack, direct: &Endpoint, length: Duration, figures: &mut Figures) -> Result<()> {
    let start = Instant::now();
    let mut memory = Memory::default();
    let mut round = 0_u32;
    while start.elapsed() < length {
        thread::sleep(PEACE.min(length / 10));
        round += 1;
        if start.elapsed() < length / 2 && round.is_multiple_of(2) {
            stack.proxy.process().signal("KILL")?;
            stack.proxy.restart(&[])?;
            figures.proxy_kills += 1;
        } else if round.is_multiple_of(3) {
            figures.database_kills += u64::from(kill_database(direct)?);
        }
        if start.elapsed() >= length / 2 {
            memory.look(stack)?;
        }
    }
    figures.memory = memory.judge()?;
    Ok(())
}

/// Kills one of the server's processes, upon which it restarts all of them.
fn kill_database(direct: &Endpoint) -> Result<bool> {
    let question = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' \
                    AND datname = 'soak' AND pid <> pg_backend_pid() LIMIT 1";
    let Ok(found) = direct.run(question) else { return Ok(false) };
    let Some(Some(process)) = found.first().and_then(|row| row.first()).cloned() else { return Ok(false) };
    Ok(Command::new("/bin/sh").args(["-c", &format!("kill -s KILL {process}")]).status()?.success())
}

/// Waits until statements are answered again.
fn settle(endpoint: &Endpoint) -> Result<()> {
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        match endpoint.run("SELECT count(name) FROM ledger") {
            Ok(_) => return Ok(()),
            Err(error) if Instant::now() > end => return Err(error),
            Err(_) => thread::sleep(Duration::from_millis(200)),
        }
    }
}

/// What the database holds in protected columns is cells, and nothing of what was written.
fn check_cells(direct: &Endpoint) -> Result<()> {
    let question = format!(
        "SELECT count(*) FROM ledger WHERE name IS NULL OR ssn IS NULL OR amount IS NULL \
         OR position('{marker}'::bytea IN name) > 0 OR position('{marker}'::bytea IN ssn) > 0 \
         OR octet_length(amount) < 18 OR octet_length(name) < 18 OR octet_length(ssn) < 18",
        marker = ledger::MARKER,
    );
    match direct.run(&question)?.first().and_then(|row| row.first()) {
        Some(Some(count)) if count == "0" => Ok(()),
        found => Err(Error::new(format!("rows that are not whole cells: {found:?}"))),
    }
}
