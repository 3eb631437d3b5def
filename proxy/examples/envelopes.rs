//! How many envelopes a proxy opens for the first time, on each of the machine's cores and on all:
//! `cargo run --release -p trefoil-proxy --example envelopes`
#![allow(clippy::unwrap_used, reason = "a measurement")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::{Duration, Instant, SystemTime};
use trefoil_keys::bundle::{CheckValue, IssuedShare};
use trefoil_keys::check;
use trefoil_keys::envelope::{self, EnvelopePrivateKey, EpochShare, Scope, UserEnvelope};
use trefoil_keys::secret::TenantKey;
use trefoil_keys::share::{self, Triple};
use trefoil_proxy::shares::{ApplicationShare, Envelope, EnvelopeKey, Keyring, Limits, Shares};

const EACH: u64 = 2_000;

fn main() {
    let (key, tk) = (Arc::new(EnvelopePrivateKey::generate().unwrap()), TenantKey::generate());
    let triple = share::split(&tk);
    let value = check::value(&tk, "main", 1);
    let keyring = Keyring {
        closed: None,
        applications: ["app".to_owned()].into(),
        keys: vec![EnvelopeKey { key: Arc::clone(&key), retires: None }],
        check_values: [("main".to_owned(), CheckValue { epoch: 1, value })].into(),
    };
    let limits = Limits { max_validity: Duration::from_secs(600), clock_skew: Duration::from_secs(5) };
    let shares = Shares::new(keyring, limits);
    let tkp = IssuedShare { epoch: 1, share: triple.proxy.duplicate() };
    shares.set_user("alice", Some([("main".to_owned(), tkp)].into()));
    let cores = available_parallelism().map_or(1, usize::from);
    for threads in [1, cores] {
        let batches: Vec<Vec<String>> =
            (0..threads).map(|_| (0..EACH).map(|_| seal(&triple, &key)).collect()).collect();
        let start = Instant::now();
        std::thread::scope(|scope| {
            for batch in &batches {
                scope.spawn(|| open(&shares, &triple, batch));
            }
        });
        let rate =
            f64::from(u32::try_from(batches.len() as u64 * EACH).unwrap()) / start.elapsed().as_secs_f64();
        println!("{threads} threads: {rate:.0} envelopes per second");
    }
}

fn open(shares: &Shares, triple: &Triple, batch: &[String]) {
    let application = [("main".to_owned(), triple.application.duplicate())];
    let application = ApplicationShare(BTreeMap::from(application));
    for envelope in batch {
        shares.check("alice", &Envelope::new(envelope.as_str()), &application, SystemTime::now()).unwrap();
    }
}

fn seal(triple: &Triple, key: &EnvelopePrivateKey) -> String {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let share = EpochShare { epoch: 1, share: triple.user.duplicate() };
    let claims = UserEnvelope {
        sub: "alice".to_owned(),
        iat: now,
        exp: now + 600,
        jti: "measured".to_owned(),
        aud: "app".to_owned(),
        scope: Scope::Write,
        max_uses: None,
        tables: None,
        shares: [("main".to_owned(), share)].into(),
    };
    envelope::seal(&claims, key.public_key()).unwrap()
}
