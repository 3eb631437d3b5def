//! A store of 100,000 users: how long it takes to open it and have all users in memory, to look one up,
//! and to change one.
#![allow(
    clippy::expect_used,
    missing_docs,
    reason = "a benchmark stops at the first error; criterion's macros"
)]

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use std::collections::{BTreeMap, HashMap};
use std::hint::black_box;
use trefoil_keys::bundle::{IssuedShare, Shares};
use trefoil_keys::lock::Lock;
use trefoil_keys::secret::Share;
use trefoil_keys::store::{Store, StoreError};

const USERS: usize = 100_000;

fn shares() -> Shares {
    BTreeMap::from([("main".to_owned(), IssuedShare { epoch: 1, share: Share::random() })])
}

fn name(user: usize) -> String {
    format!("user-{user}@clinic.example")
}

fn load(store: &Store) -> HashMap<String, Shares> {
    store.read::<_, StoreError>(|view| view.entries_json("users")?.collect()).expect("the users")
}

fn store(c: &mut Criterion) {
    let directory = tempfile::tempdir().expect("a directory");
    let state = directory.path().join("state");
    let lock = Lock::KeyFile(directory.path().join("lock.key"));
    lock.create_if_missing().expect("a key file");
    let store = Store::create(&state, &lock).expect("a store");
    let filled = store.write::<_, StoreError>(|changes| {
        (0..USERS).try_for_each(|user| changes.put_json("users", &name(user), &shares()))
    });
    filled.expect("the users");
    drop(store);

    let mut group = c.benchmark_group("100,000 users");
    group.sample_size(10);
    group.bench_function("open, verify and load all", |b| {
        b.iter(|| {
            let store = Store::open(&state, &lock).expect("the store");
            assert_eq!(load(&store).len(), USERS);
        });
    });
    let store = Store::open(&state, &lock).expect("the store");
    group.sample_size(100);
    let mut user = 0;
    let mut next = move || {
        // A prime, so that it goes round all users in no order.
        user = (user + 7919) % USERS;
        name(user)
    };
    group.bench_function("look up one", |b| {
        b.iter_batched(
            &mut next,
            |name| {
                let found = store.read::<_, StoreError>(|view| view.get_json::<Shares>("users", &name));
                assert!(black_box(found).is_ok_and(|shares| shares.is_some()));
            },
            BatchSize::SmallInput,
        );
    });
    group.sample_size(20);
    group.bench_function("change one, durably", |b| {
        b.iter_batched(
            &mut next,
            |name| {
                store
                    .write::<_, StoreError>(|changes| changes.put_json("users", &name, &shares()))
                    .expect("the change");
            },
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

criterion_group!(benches, store);
criterion_main!(benches);
