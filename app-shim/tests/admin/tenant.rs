//! A tenant admin: signs commands, and speaks HTTPS to the sidecar.

use crate::peer::Proxy;
use crate::sidecar::Sidecar;
use reqwest::{Method, StatusCode};
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use trefoil_keys::bundle::{IssuedShare, Shares, Version};
use trefoil_keys::command::{Command, Delivery, Operation, tka_digest};
use trefoil_keys::receipt::Receipt;
use trefoil_keys::secret::Share;
use trefoil_keys::signing::SigningKey;
use trefoil_keys::status::Status;
use trefoil_keys::tls;

pub(crate) struct Tenant {
    pub(crate) key: SigningKey,
    pub(crate) name: String,
}

pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) text: String,
    pub(crate) retry_after: Option<u64>,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap()
    }

    /// The `code` of a problem, which also has a message and a hint.
    #[track_caller]
    pub(crate) fn code(&self) -> String {
        let json = self.json();
        assert!(json["message"].as_str().is_some_and(|text| !text.is_empty()), "{json}");
        assert!(json["hint"].as_str().is_some_and(|text| !text.is_empty()), "{json}");
        json["code"].as_str().unwrap().to_owned()
    }

    #[track_caller]
    pub(crate) fn is(&self, status: u16, code: &str) {
        assert_eq!((self.status, self.code().as_str()), (status, code), "{}", self.text);
    }
}

pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

pub(crate) fn shares(byte: u8) -> Shares {
    Shares::from([("main".to_owned(), IssuedShare { epoch: 1, share: Share::from_bytes([byte; 32]) })])
}

pub(crate) fn add(user: &str) -> Operation {
    Operation::Add { sub: user.to_owned() }
}

pub(crate) fn change(user: &str) -> Operation {
    Operation::Change { sub: user.to_owned() }
}

pub(crate) fn withdraw(user: &str) -> Operation {
    Operation::Withdraw { sub: user.to_owned() }
}

impl Tenant {
    pub(crate) fn new() -> Self {
        Self { key: SigningKey::generate().unwrap(), name: "clinic".to_owned() }
    }

    /// With the shares `[byte; 32]` for the users that the operation is about.
    pub(crate) fn delivery(&self, seq: u64, op: Operation, byte: u8) -> Delivery {
        let tka = match &op {
            Operation::AddBatch | Operation::Renew => {
                ["alice", "bob"].map(|user| (user.to_owned(), shares(byte))).into()
            }
            Operation::Add { sub } | Operation::Change { sub } => {
                BTreeMap::from([(sub.clone(), shares(byte))])
            }
            _ => BTreeMap::new(),
        };
        self.sign(seq, op, now(), 3600, tka)
    }

    pub(crate) fn sign(
        &self,
        seq: u64,
        op: Operation,
        iat: u64,
        validity: u64,
        tka: BTreeMap<String, Shares>,
    ) -> Delivery {
        let carries = op.carries_shares();
        let command = Command {
            tenant: self.name.clone(),
            seq,
            iat,
            exp: iat + validity,
            op,
            tka_sha256: carries.then(|| tka_digest(&tka)),
            // About as long as sealed shares are: 43 characters each, and what stands around them.
            tkp: carries.then(|| "played".repeat(25 * tka.len())),
        };
        Delivery { version: Version, command: self.key.sign(&command).unwrap(), tka }
    }
}

/// The path of an operation.
pub(crate) fn path(op: &Operation) -> &'static str {
    match op {
        Operation::Add { .. } => "/v1/AddUser",
        Operation::AddBatch => "/v1/AddUsers",
        Operation::Change { .. } => "/v1/ChangeKey",
        Operation::Withdraw { .. } => "/v1/WithdrawUser",
        Operation::Renew => "/v1/RenewShares",
        Operation::AddKeyspace { .. } => "/v1/AddKeyspace",
        Operation::RotateKey { .. } => "/v1/RotateKey",
    }
}

/// What sends requests to a sidecar.
pub(crate) struct Client {
    runtime: tokio::runtime::Runtime,
    client: reqwest::Client,
    url: String,
    pub(crate) login: Option<(String, String)>,
}

impl Client {
    pub(crate) fn new(sidecar: &Sidecar) -> Self {
        Self::with(sidecar, None)
    }

    pub(crate) fn with(sidecar: &Sidecar, certificate: Option<tls::Identity>) -> Self {
        let config = tls::pinned_client_config(sidecar.fingerprint, certificate).unwrap();
        let client = trefoil_https::client::client(config, Duration::from_secs(60)).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let login = Some(("clinic".to_owned(), sidecar.password.clone()));
        Self { runtime, client, url: format!("https://{}", sidecar.admin), login }
    }

    /// `None` if there is no connection.
    pub(crate) fn try_send(&self, method: Method, path: &str, body: Vec<u8>) -> Option<Answer> {
        let mut request = self.client.request(method, format!("{}{path}", self.url)).body(body);
        if let Some((user, password)) = &self.login {
            request = request.basic_auth(user, Some(password));
        }
        self.runtime.block_on(async {
            let response = request.send().await.ok()?;
            let status = response.status();
            assert_ne!(status, StatusCode::INTERNAL_SERVER_ERROR);
            let retry_after =
                response.headers().get("retry-after").map(|wait| wait.to_str().unwrap().parse().unwrap());
            Some(Answer { status: status.as_u16(), text: response.text().await.ok()?, retry_after })
        })
    }

    pub(crate) fn send(&self, method: Method, path: &str, body: &[u8]) -> Answer {
        self.try_send(method, path, body.to_vec()).expect("no answer")
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, b"")
    }

    /// Delivers to the path of the operation.
    pub(crate) fn deliver(&self, delivery: &Delivery, op: &Operation) -> Answer {
        self.send(Method::POST, path(op), &delivery.to_json().unwrap())
    }

    /// UIds.
    pub(crate) fn users(&self) -> Vec<String> {
        self.get("/v1/users").json()["users"].as_object().unwrap().keys().cloned().collect()
    }

    pub(crate) fn pending(&self) -> Value {
        self.get("/v1/pending").json()["pending"].clone()
    }

    /// The outcome of a receipt that the proxy has signed.
    pub(crate) fn receipt(&self, answer: &Answer, proxy: &Proxy) -> Receipt {
        let status = self.get("/v1/status?nonce=n");
        let status = Status::introduce(&status.text).unwrap();
        assert_eq!(
            Some(&status.receipt_key),
            Some(&Status::introduce(&proxy_status(proxy)).unwrap().receipt_key)
        );
        status.receipt_key.verify(&answer.text).unwrap()
    }
}

fn proxy_status(proxy: &Proxy) -> String {
    let config = tls::pinned_client_config(proxy.fingerprint, None).unwrap();
    let client = trefoil_https::client::client(config, Duration::from_secs(60)).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let request = client.get(format!("{}/v1/status?nonce=x", proxy.url()));
    runtime.block_on(async { request.send().await.unwrap().text().await.unwrap() })
}
