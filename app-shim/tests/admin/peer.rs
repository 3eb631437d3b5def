//! A proxy's admin port: keeps the contract of commands and receipts, and misbehaves when told to.

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::runtime::Runtime;
use trefoil_https::{Problem, body, server};
use trefoil_keys::command::{Command, hash};
use trefoil_keys::envelope::{EnvelopePrivateKey, EnvelopePublicKey, UserEnvelope};
use trefoil_keys::receipt::{Outcome, Receipt};
use trefoil_keys::signing::{SigningKey, VerifyingKey};
use trefoil_keys::status::{self, Status};
use trefoil_keys::tls::{Fingerprint, SelfSigned};
use trefoil_link::{ServedTls, Source};

/// What it does with a command.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Manner {
    /// What it should.
    Right,
    /// Refuses for good.
    Refuse,
    /// Decides nothing.
    Undecided,
    /// Applies, and its answer is lost.
    Lost,
    /// Answers with the receipt of another command.
    OtherReceipt,
    /// Signs with another key.
    OtherKey,
}

pub(crate) struct Proxy {
    pub(crate) fingerprint: Fingerprint,
    identity: SelfSigned,
    address: SocketAddr,
    inside: Arc<Mutex<Inside>>,
    running: Option<Runtime>,
}

pub(crate) struct Inside {
    pub(crate) manner: Manner,
    /// Known once the bootstrap is done.
    pub(crate) tenant_key: Option<VerifyingKey>,
    /// The commands that were applied.
    pub(crate) applied: Vec<String>,
    /// How many commands came.
    pub(crate) asked: usize,
    receipt_key: SigningKey,
    receipts: BTreeMap<u64, String>,
}

pub(crate) fn private_key() -> EnvelopePrivateKey {
    EnvelopePrivateKey::from_pkcs8_pem(include_str!("../../../keys/tests/vectors/key-2048.pem")).unwrap()
}

pub(crate) fn envelope_key() -> EnvelopePublicKey {
    private_key().public_key().clone()
}

impl Proxy {
    pub(crate) fn start(tenant_key: Option<VerifyingKey>) -> Self {
        let identity = SelfSigned::generate(&["127.0.0.1".to_owned()]).unwrap();
        let inside = Inside {
            manner: Manner::Right,
            tenant_key,
            applied: Vec::new(),
            asked: 0,
            receipt_key: SigningKey::generate().unwrap(),
            receipts: BTreeMap::new(),
        };
        let mut proxy = Self {
            fingerprint: identity.fingerprint(),
            identity,
            address: "127.0.0.1:0".parse().unwrap(),
            inside: Arc::new(Mutex::new(inside)),
            running: None,
        };
        proxy.resume();
        proxy
    }

    pub(crate) fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    pub(crate) fn inside(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap()
    }

    pub(crate) fn behave(&self, manner: Manner) {
        self.inside().manner = manner;
    }

    /// Cannot be reached from now on.
    pub(crate) fn pause(&mut self) {
        drop(self.running.take());
    }

    /// Can be reached again, at the same address.
    pub(crate) fn resume(&mut self) {
        let runtime = Runtime::new().unwrap();
        let socket = {
            let _guard = runtime.enter();
            let socket = tokio::net::TcpSocket::new_v4().unwrap();
            socket.set_reuseaddr(true).unwrap();
            socket.bind(self.address).unwrap();
            socket.listen(64).unwrap()
        };
        self.address = socket.local_addr().unwrap();
        let own = SelfSigned {
            certificate: self.identity.certificate.clone(),
            private_key: self.identity.private_key.clone(),
        };
        let tls = ServedTls::new(Source::Own(own), None, false, &[b"http/1.1"]).unwrap();
        let app = Router::new()
            .route("/v1/status", get(status))
            .route("/v1/commands", post(command))
            .route("/v1/envelopes/check", post(envelope))
            .with_state(self.inside.clone());
        runtime.spawn(server::serve(socket, Arc::new(tls), app, server::Bounds::default()));
        self.running = Some(runtime);
    }
}

async fn status(State(inside): State<Arc<Mutex<Inside>>>, uri: Uri) -> String {
    let inside = inside.lock().unwrap();
    let last = inside.receipts.last_key_value();
    let status = Status {
        tenant: "clinic".to_owned(),
        application: "clinic-app".to_owned(),
        nonce: uri.query().unwrap().strip_prefix("nonce=").unwrap().to_owned(),
        at: 1,
        state: if inside.tenant_key.is_some() { status::State::Ready } else { status::State::Open },
        claim_sha256: None,
        seq: last.map_or(0, |(seq, _)| *seq),
        last_command_sha256: inside.applied.last().map(|jws| hash(jws)),
        envelope_keys: vec![envelope_key()],
        receipt_key: inside.receipt_key.verifying_key().clone(),
        tenant_key: inside.tenant_key.clone(),
        keyspaces: BTreeMap::from([("main".to_owned(), 1)]),
        audit: None,
    };
    inside.receipt_key.sign(&status).unwrap()
}

async fn command(State(inside): State<Arc<Mutex<Inside>>>, body: Body) -> Response {
    let jws = body::read(body, 4 << 20).await.unwrap();
    let jws = std::str::from_utf8(&jws).unwrap();
    let mut inside = inside.lock().unwrap();
    inside.asked += 1;
    let verified = inside.tenant_key.as_ref().map(|key| key.verify::<Command>(jws));
    let Some(Ok(command)) = verified else { return (StatusCode::FORBIDDEN, "signature").into_response() };
    let sign = |outcome, seq, key: &SigningKey| {
        let receipt = Receipt {
            tenant: command.tenant.clone(),
            seq,
            command_sha256: hash(jws),
            at: 1,
            outcome,
            envelope_keys: None,
        };
        key.sign(&receipt).unwrap()
    };
    let refused =
        Outcome::Refused { code: "played".to_owned(), message: "played here".to_owned(), user: None };
    match inside.manner {
        Manner::Right | Manner::Lost => {}
        Manner::Undecided => return (StatusCode::SERVICE_UNAVAILABLE, "busy").into_response(),
        Manner::Refuse => {
            let receipt = sign(refused, command.seq, &inside.receipt_key);
            return (StatusCode::UNPROCESSABLE_ENTITY, receipt).into_response();
        }
        Manner::OtherReceipt => return sign(refused, command.seq + 1, &inside.receipt_key).into_response(),
        Manner::OtherKey => {
            return sign(refused, command.seq, &SigningKey::generate().unwrap()).into_response();
        }
    }
    if !inside.applied.iter().any(|applied| applied == jws) {
        if command.seq != inside.receipts.last_key_value().map_or(0, |(seq, _)| *seq) + 1 {
            let receipt = sign(refused, command.seq, &inside.receipt_key);
            return (StatusCode::UNPROCESSABLE_ENTITY, receipt).into_response();
        }
        let receipt = sign(Outcome::Applied, command.seq, &inside.receipt_key);
        inside.applied.push(jws.to_owned());
        inside.receipts.insert(command.seq, receipt);
    }
    if inside.manner == Manner::Lost {
        return (StatusCode::BAD_GATEWAY, "lost").into_response();
    }
    inside.receipts[&command.seq].clone().into_response()
}

/// Opens it, as the proxy does before it knows a session.
async fn envelope(body: Body) -> Response {
    let question = body::read(body, 64 * 1024).await.unwrap();
    let question: serde_json::Value = serde_json::from_slice(&question).unwrap();
    let text = |name: &str| question[name].as_str().unwrap();
    let problem = |code| Problem::new(StatusCode::UNAUTHORIZED, code, "played", "here").into_response();
    let opened = private_key().open::<UserEnvelope>(text("envelope"));
    let Some(envelope) = opened.ok().filter(|envelope| envelope.sub == text("user")) else {
        return problem("share-rejected");
    };
    assert!(text("app_share").starts_with("main:"));
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    if envelope.iat > now + 5 {
        return problem("share-rejected");
    }
    let Some(expires_in) = envelope.exp.checked_sub(now).filter(|left| *left > 0) else {
        return problem("share-expired");
    };
    let limited = envelope.max_uses.is_some() || envelope.tables.is_some();
    let found = serde_json::json!({
        "scope": envelope.scope, "issued": envelope.iat, "expires_in": expires_in, "limited": limited
    });
    found.to_string().into_response()
}
