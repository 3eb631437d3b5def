//! A tenant of one user, who presents an envelope. The proxy's benchmarks include this file, too.

use std::sync::{Arc, LazyLock};
use std::time::{Duration, SystemTime};
use trefoil_keys::bundle::{CheckValue, IssuedShare};
use trefoil_keys::carrier::app_share;
use trefoil_keys::check;
use trefoil_keys::envelope::{self, EnvelopePrivateKey, EpochShare, Scope, UserEnvelope};
use trefoil_keys::secret::TenantKey;
use trefoil_keys::share;
use trefoil_proxy::shares::{EnvelopeKey, Keyring, Limits, Shares};
use zeroize::Zeroizing;

/// The tenant key.
pub const TK: [u8; 32] = [7; 32];

/// A tenant of one user, and what that user presents.
pub struct Tenant {
    /// What the proxy has of it.
    pub shares: Arc<Shares>,
    /// UId, envelope and application's share.
    pub carriers: [String; 3],
}

/// Made once: an envelope costs an unwrap.
pub static TENANT: LazyLock<Tenant> = LazyLock::new(|| {
    let pem = include_str!("../../../keys/tests/vectors/key-2048.pem");
    let key = Arc::new(EnvelopePrivateKey::from_pkcs8_pem(pem).expect("the test's key"));
    let tk = TenantKey::from_bytes(Zeroizing::new(TK));
    let triple = share::split(&tk);
    let check_values = CheckValue { epoch: 1, value: check::value(&tk, "main", 1) };
    let keyring = Keyring {
        closed: None,
        applications: ["clinic".to_owned()].into(),
        keys: vec![EnvelopeKey { key: Arc::clone(&key), retires: None }],
        check_values: [("main".to_owned(), check_values)].into(),
    };
    let day = Duration::from_secs(24 * 60 * 60);
    let shares = Shares::new(keyring, Limits { max_validity: day, clock_skew: Duration::from_secs(60) });
    let held = IssuedShare { epoch: 1, share: triple.proxy };
    shares.set_user("alice", Some([("main".to_owned(), held)].into()));
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let claims = UserEnvelope {
        sub: "alice".to_owned(),
        iat: now,
        exp: now + day.as_secs(),
        jti: "1".to_owned(),
        aud: "clinic".to_owned(),
        scope: Scope::Write,
        max_uses: None,
        tables: None,
        shares: [("main".to_owned(), EpochShare { epoch: 1, share: triple.user })].into(),
    };
    let envelope = envelope::seal(&claims, key.public_key()).expect("complete claims");
    let application = app_share::format([("main", &triple.application)]).expect("a keyspace");
    Tenant { shares: Arc::new(shares), carriers: ["alice".to_owned(), envelope, application.to_string()] }
});
