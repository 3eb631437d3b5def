//! The session between its sockets: what a message costs that passes, and one with cells. Needs the feature
//! `bench`.
#![allow(
    clippy::expect_used,
    missing_docs,
    reason = "a benchmark stops at the first error; criterion's macros"
)]

#[path = "../fuzz/src/tenant.rs"]
#[allow(unreachable_pub, reason = "fuzzing has it in a library")]
mod tenant;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;
use tenant::{TENANT, TK};
use trefoil_keys::carrier::Carriers;
use trefoil_keys::cell::{ColumnKey, Mode};
use trefoil_keys::secret::TenantKey;
use trefoil_proxy::policy::Policy;
use trefoil_proxy::session::fuzzed::{Machine, Setting};
use trefoil_proxy::sql;
use zeroize::Zeroizing;

const POLICY: &str = "[tables.\"public.people\"]\n\
    name = { type = \"text\", mode = \"randomized\" }\n\
    ssn = { type = \"text\", mode = \"deterministic\" }\n";
const SCHEMA: &str =
    "CREATE TABLE people (id int, name text, ssn text, city text); CREATE TABLE notes (note text);";
/// What the cells hold.
const NAME: &[u8] = b"Margarete Weber";
/// Rows of one reply.
const ROWS: usize = 1000;
/// Bytes of one read of a busy socket.
const READ: usize = 64 * 1024;

/// Writes one message.
fn message(out: &mut Vec<u8>, kind: u8, body: &[&[u8]]) {
    let body = body.concat();
    out.push(kind);
    out.extend_from_slice(&u32::try_from(body.len() + 4).expect("a short message").to_be_bytes());
    out.extend_from_slice(&body);
}

fn parse(out: &mut Vec<u8>, text: &str) {
    message(out, b'P', &[b"s\0", text.as_bytes(), b"\0\0\0"]);
    message(out, b'D', &[b"Ss\0"]);
    message(out, b'S', &[]);
}

/// Bind of one text parameter, Execute, Sync.
fn execute(out: &mut Vec<u8>, parameter: &[u8]) {
    let length = u32::try_from(parameter.len()).expect("a short value").to_be_bytes();
    message(out, b'B', &[b"\0s\0\0\0\0\x01", &length, parameter, b"\0\0"]);
    message(out, b'E', &[b"\0\0\0\0\0"]);
    message(out, b'S', &[]);
}

/// What the server answers to Parse: one parameter and one column of this type.
fn described(out: &mut Vec<u8>, name: &str, kind: u32) {
    let kind = kind.to_be_bytes();
    message(out, b'1', &[]);
    message(out, b't', &[b"\0\x01", &kind]);
    message(
        out,
        b'T',
        &[b"\0\x01", name.as_bytes(), b"\0\0\0\x40\0\0\x02", &kind, b"\xff\xff\xff\xff\xff\xff\0\0"],
    );
    message(out, b'Z', &[b"I"]);
}

/// What it answers to Bind, Execute and Sync: so many rows of one value.
fn rows(out: &mut Vec<u8>, value: &[u8], count: usize) {
    let length = u32::try_from(value.len()).expect("a short value").to_be_bytes();
    message(out, b'2', &[]);
    (0..count).for_each(|_| message(out, b'D', &[b"\0\x01", &length, value]));
    message(out, b'C', &[format!("SELECT {count}\0").as_bytes()]);
    message(out, b'Z', &[b"I"]);
}

/// What sessions share, and a cell of `people.name`.
struct Fixture {
    setting: Setting,
    cell: Vec<u8>,
}

impl Fixture {
    fn new() -> Self {
        let policy = Arc::new(Policy::parse(POLICY).expect("a policy"));
        let catalog = Arc::new(sql::schema(SCHEMA, &policy).expect("a schema"));
        let tk = TenantKey::from_bytes(Zeroizing::new(TK));
        let mut cell = Vec::new();
        let mut key = ColumnKey::derive(&tk, "main", "public.people.name", Mode::Randomized);
        key.seal(1, NAME, &mut cell);
        Self { setting: Setting::new(&policy, &catalog, &TENANT.shares).expect("no files"), cell }
    }

    /// A session that has begun.
    fn session(&self) -> Machine {
        let mut carriers = Carriers::default();
        for (name, value) in trefoil_keys::carrier::SETTINGS.iter().zip(&TENANT.carriers) {
            carriers.set(name, value.as_bytes()).expect("a carrier");
        }
        let mut session = Machine::new(&self.setting, false, carriers);
        let mut said = Vec::new();
        for (name, value) in [("client_encoding", "UTF8"), ("standard_conforming_strings", "on")] {
            message(&mut said, b'S', &[name.as_bytes(), b"\0", value.as_bytes(), b"\0"]);
        }
        message(&mut said, b'Z', &[b"I"]);
        assert!(session.backend(&mut said, &mut Vec::new()));
        session
    }

    /// One with this statement prepared.
    fn prepared(&self, text: &str, column: &str, kind: u32) -> Machine {
        let mut session = self.session();
        let (mut said, mut out) = (Vec::new(), Vec::new());
        parse(&mut said, text);
        assert!(session.frontend(&mut said, &mut out));
        described(&mut said, column, kind);
        out.clear();
        assert!(session.backend(&mut said, &mut out));
        assert!(out.ends_with(b"Z\0\0\0\x05I") && !out.contains(&b'E'), "{}", String::from_utf8_lossy(&out));
        session
    }

    /// One in which this text runs, as far as the server's message of this kind.
    fn running(&self, text: &str, kind: u8, body: &[u8]) -> Machine {
        let mut session = self.session();
        let (mut said, mut out) = (Vec::new(), Vec::new());
        message(&mut said, b'Q', &[text.as_bytes(), b"\0"]);
        assert!(session.frontend(&mut said, &mut out));
        message(&mut said, kind, &[body]);
        assert!(session.backend(&mut said, &mut out));
        session
    }
}

/// One execution after the other, each with so many rows.
fn executions(
    c: &mut Criterion,
    name: &str,
    session: &mut Machine,
    [value, shown]: [&[u8]; 2],
    count: usize,
) {
    let (mut question, mut answer) = (Vec::new(), Vec::new());
    execute(&mut question, b"078-05-1120");
    rows(&mut answer, value, count);
    let (mut said, mut out) = (Vec::new(), Vec::new());
    let mut group = c.benchmark_group("session");
    // Bind, Execute, Sync; BindComplete, the rows, CommandComplete, ReadyForQuery.
    group.throughput(Throughput::Elements(u64::try_from(count + 6).unwrap_or(u64::MAX)));
    group.bench_function(name, |b| {
        b.iter(|| {
            out.clear();
            said.extend_from_slice(black_box(&question));
            assert!(session.frontend(&mut said, &mut out));
            out.clear();
            said.extend_from_slice(black_box(&answer));
            assert!(session.backend(&mut said, &mut out));
        });
        assert_eq!(out.windows(shown.len()).filter(|window| *window == shown).count(), count);
        assert!(out.ends_with(b"Z\0\0\0\x05I"), "{}", String::from_utf8_lossy(&out));
    });
    group.finish();
}

fn session(c: &mut Criterion) {
    let fixture = Fixture::new();
    let mut plain = fixture.prepared("SELECT city FROM people WHERE city = $1", "city", 25);
    executions(c, "one row, nothing protected", &mut plain, [b"Freiburg"; 2], 1);
    executions(c, "1,000 rows, nothing protected", &mut plain, [b"Freiburg"; 2], ROWS);
    let mut cells = fixture.prepared("SELECT name FROM people WHERE ssn = $1", "name", 17);
    executions(c, "one row, by a protected key, one cell", &mut cells, [&fixture.cell, NAME], 1);
    executions(c, "1,000 rows, by a protected key, one cell each", &mut cells, [&fixture.cell, NAME], ROWS);
}

/// Parse of a text whose plan is in the cache, by itself or by its shape, and ParseComplete.
fn look_up(c: &mut Criterion) {
    let fixture = Fixture::new();
    let mut session = fixture.prepared("SELECT name FROM people WHERE ssn = $1", "name", 17);
    let mut answer = Vec::new();
    message(&mut answer, b'1', &[]);
    message(&mut answer, b'Z', &[b"I"]);
    for (name, text) in [
        ("known text", "SELECT name FROM people WHERE ssn = $1"),
        ("known shape, one protected literal", "SELECT name FROM people WHERE ssn = '078-05-1120'"),
    ] {
        let mut question = Vec::new();
        message(&mut question, b'P', &[b"\0", text.as_bytes(), b"\0\0\0"]);
        message(&mut question, b'S', &[]);
        let (mut said, mut out) = (Vec::new(), Vec::new());
        c.bench_function(&format!("session/Parse of a {name}"), |b| {
            b.iter(|| {
                out.clear();
                said.extend_from_slice(black_box(&question));
                assert!(session.frontend(&mut said, &mut out));
                said.extend_from_slice(black_box(&answer));
                assert!(session.backend(&mut said, &mut out));
            });
            assert!(!out.windows(5).any(|bytes| bytes == b"ERROR"));
        });
    }
}

/// A message that needs nothing, in ns each, of as many as one read of a busy socket brings. Copying them to where
/// they are read from takes the place of that read.
fn pass(
    group: &mut BenchmarkGroup<'_, WallTime>,
    name: &str,
    message: &[u8],
    mut relay: impl FnMut(&mut Vec<u8>, &mut Vec<u8>) -> bool,
) {
    let count = READ / message.len();
    let read = message.repeat(count);
    let (mut said, mut out) = (Vec::new(), Vec::new());
    group.bench_function(name, |b| {
        b.iter_custom(|messages| {
            let reads = messages.div_ceil(count as u64);
            let begun = Instant::now();
            for _ in 0..reads {
                out.clear();
                said.extend_from_slice(black_box(&read));
                assert!(relay(&mut said, &mut out));
            }
            // It asks for the time of so many, which are not whole reads.
            begun.elapsed().mul_f64(messages as f64 / (reads * count as u64) as f64)
        });
        assert_eq!(out, read);
    });
}

fn relay(c: &mut Criterion) {
    let fixture = Fixture::new();
    let mut group = c.benchmark_group("relay");
    let value = [b'x'; 100];
    let (mut row, mut copied, mut completed) = (Vec::new(), Vec::new(), Vec::new());
    message(&mut row, b'D', &[b"\0\x01\0\0\0\x64", &value]);
    message(&mut copied, b'd', &[&value]);
    message(&mut completed, b'C', &[b"INSERT 0 1\0"]);
    let description = b"\0\x01note\0\0\0\x40\0\0\x02\0\0\0\x19\xff\xff\xff\xff\xff\xff\0\0";
    let mut session = fixture.running("SELECT note FROM notes", b'T', description);
    pass(&mut group, "DataRow of 100 bytes", &row, |said, out| session.backend(said, out));
    let mut session = fixture.running("COPY notes TO STDOUT", b'H', b"\0\0\x01\0\0");
    pass(&mut group, "CopyData of 100 bytes, out", &copied, |said, out| session.backend(said, out));
    let mut session = fixture.running("COPY notes FROM STDIN", b'G', b"\0\0\x01\0\0");
    pass(&mut group, "CopyData of 100 bytes, in", &copied, |said, out| session.frontend(said, out));
    let text = "INSERT INTO notes VALUES ('a'); INSERT INTO notes VALUES ('b')";
    let mut session = fixture.running(text, b'C', b"INSERT 0 1\0");
    pass(&mut group, "CommandComplete", &completed, |said, out| session.backend(said, out));
    group.finish();
}

criterion_group!(benches, relay, session, look_up);
criterion_main!(benches);
