//! Values by type: what a value costs on its way into a cell, from either of PostgreSQL's formats, and on its way
//! back. The keys are open, and messages left out.
#![allow(
    clippy::expect_used,
    missing_docs,
    reason = "a benchmark stops at the first error; criterion's macros"
)]

#[path = "../fuzz/src/tenant.rs"]
#[allow(unreachable_pub, reason = "fuzzing has it in a library")]
mod tenant;

use criterion::{Criterion, criterion_group, criterion_main};
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tenant::TENANT;
use trefoil_keys::carrier::app_share;
use trefoil_proxy::policy::{Policy, ProtectedColumn, Purpose};
use trefoil_proxy::shares::{ApplicationShare, Burst, Envelope, Sight};
use trefoil_proxy::value::{self, Settings};
use trefoil_proxy::wire::bind::Format;

/// Each with a value as PostgreSQL shows it.
const TYPES: [(&str, &str); 26] = [
    ("int2", "-12345"),
    ("int4", "1234567890"),
    ("int8", "1234567890123456789"),
    ("float4", "3.1415927"),
    ("float8", "2.718281828459045"),
    ("numeric", "1234567.89"),
    ("numeric(12,2)", "1234567.89"),
    ("bool", "t"),
    ("text", "Margarete Weber"),
    ("varchar(40)", "Margarete Weber"),
    ("char(20)", "Margarete Weber     "),
    ("bytea", "\\x000102030405060708090a0b0c0d0e0f"),
    ("date", "1961-02-03"),
    ("time", "13:14:15.123456"),
    ("timetz", "13:14:15.123456+02"),
    ("timestamp", "2026-11-29 13:14:15.123456"),
    ("timestamptz", "2026-11-29 13:14:15.123456+00"),
    ("interval", "1 year 2 mons 3 days 04:05:06"),
    ("uuid", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
    ("inet", "192.168.1.5/24"),
    ("cidr", "192.168.1.0/24"),
    ("macaddr", "08:00:2b:01:02:03"),
    ("json", r#"{"name": "Weber", "born": 1961}"#),
    ("jsonb", r#"{"born": 1961, "name": "Weber"}"#),
    ("text[]", "{Margarete,Weber}"),
    ("int4[]", "{1,2,3}"),
];

/// Values of one column on their way, with buffers that are kept from one to the next.
struct Way<'a> {
    column: &'a ProtectedColumn,
    burst: Burst,
    settings: Settings,
    canonical: Vec<u8>,
    out: Vec<u8>,
}

impl<'a> Way<'a> {
    fn of(column: &'a ProtectedColumn) -> Self {
        let [user, envelope, application] = &TENANT.carriers;
        let application = ApplicationShare(app_share::parse(application).expect("a share"));
        let envelope = Envelope::new(envelope.as_str());
        let burst = TENANT.shares.admit(user, &envelope, &Arc::new(application), SystemTime::now());
        Self {
            column,
            burst: burst.expect("keys"),
            settings: Settings::default(),
            canonical: Vec::new(),
            out: Vec::new(),
        }
    }

    /// A cell of what a client sends, as in a Bind.
    fn seal(&mut self, format: Format, sent: &[u8]) -> &[u8] {
        let Self { column, burst, settings, canonical, out } = self;
        canonical.clear();
        out.clear();
        let logical = &column.logical;
        let read = match format {
            Format::Text => value::from_declared_text(logical, 0, sent, Purpose::Assign, settings, canonical),
            Format::Binary => value::from_binary(logical, 0, sent, Purpose::Assign, settings, canonical),
        };
        read.expect("a value of the type");
        burst.seal(column, canonical, out).expect("a cell");
        out
    }

    /// What a client is sent of a cell, as in a DataRow.
    fn open(&mut self, format: Format, cell: &[u8]) -> &[u8] {
        let Self { column, burst, settings, canonical, out } = self;
        canonical.clear();
        out.clear();
        assert_eq!(burst.show(column, cell, canonical).expect("the cell's value"), Sight::Value);
        let shown = match format {
            Format::Text => value::to_text(&column.logical, canonical, settings, out),
            Format::Binary => value::to_binary(&column.logical, canonical, out),
        };
        shown.expect("a value of the type");
        out
    }
}

fn types(c: &mut Criterion) {
    let mut group = c.benchmark_group("cell by type");
    // There are many.
    group.warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(1));
    for (kind, text) in TYPES {
        let policy = format!("[tables.\"public.t\"]\nc = {{ type = {kind:?}, mode = \"randomized\" }}");
        let policy = Policy::parse(&policy).expect("a policy");
        let mut way = Way::of(policy.columns().first().expect("its column"));
        let cell = way.seal(Format::Text, text.as_bytes()).to_vec();
        let binary = way.open(Format::Binary, &cell).to_vec();
        for (name, format, sent) in
            [("text", Format::Text, text.as_bytes()), ("binary", Format::Binary, &binary)]
        {
            let cell = way.seal(format, sent).to_vec();
            assert_eq!(way.open(format, &cell), sent);
            group.bench_function(format!("{kind}, {name}, encrypt"), |b| {
                b.iter(|| way.seal(format, black_box(sent)).len());
            });
            group.bench_function(format!("{kind}, {name}, decrypt"), |b| {
                b.iter(|| way.open(format, black_box(&cell)).len());
            });
        }
    }
    group.finish();
}

criterion_group!(benches, types);
criterion_main!(benches);
