//! Cells by mode and size, and what it costs to have the keys for them.
#![allow(
    clippy::expect_used,
    missing_docs,
    reason = "a benchmark stops at the first error; criterion's macros"
)]

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;
use trefoil_keys::cell::{ColumnKey, Mode};
use trefoil_keys::check;
use trefoil_keys::secret::TenantKey;
use trefoil_keys::share::{self, MaskedShare};

const MODES: [(&str, Mode); 2] = [("randomized", Mode::Randomized), ("deterministic", Mode::Deterministic)];
const SIZES: [usize; 4] = [4, 64, 1024, 65536];

/// Unmask TKu, put TK together, compare it with the check value, derive two column keys, wipe all of it.
fn key(c: &mut Criterion) {
    let tk = TenantKey::generate();
    let triple = share::split(&tk);
    let value = check::value(&tk, "main", 1);
    let hash = [7; 32];
    let masked = MaskedShare::mask(&triple.user, &triple.application, &hash, "main").expect("room");
    c.bench_function("key/opening, two columns", |b| {
        b.iter(|| {
            let user = masked.unmask(&triple.application, &hash, "main");
            let tk = share::combine(&user, &triple.application, &triple.proxy);
            assert!(check::verify(&tk, "main", 1, &value));
            for (name, mode) in MODES {
                drop(black_box(ColumnKey::derive(&tk, "main", name, mode)));
            }
        });
    });
}

fn cells(c: &mut Criterion) {
    let tk = TenantKey::generate();
    for size in [16].into_iter().chain(SIZES) {
        let name = if size == 16 { "cell of 16 bytes" } else { "cell" };
        let mut group = c.benchmark_group(name);
        group.throughput(Throughput::Bytes(u64::try_from(size).unwrap_or(u64::MAX)));
        let plaintext = vec![b'x'; size];
        for (mode_name, mode) in MODES {
            let mut key = ColumnKey::derive(&tk, "main", "public.patients.name", mode);
            let mut cell = Vec::new();
            key.seal(1, &plaintext, &mut cell);
            let mut out = Vec::with_capacity(cell.len());
            group.bench_function(BenchmarkId::new(format!("{mode_name}, encrypt"), size), |b| {
                b.iter(|| {
                    out.clear();
                    key.seal(1, black_box(&plaintext), &mut out);
                });
            });
            group.bench_function(BenchmarkId::new(format!("{mode_name}, decrypt"), size), |b| {
                b.iter(|| {
                    out.clear();
                    key.open(black_box(&cell), &mut out).expect("the value");
                });
            });
        }
        group.finish();
    }
}

criterion_group!(benches, key, cells);
criterion_main!(benches);
