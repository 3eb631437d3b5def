//! The tenant admin's side, as small as tests need it.

use crate::process::{Place, Proxy};
use serde_json::json;
use std::collections::BTreeMap;
use std::time::SystemTime;
use trefoil_https::client::Answer;
use trefoil_keys::bundle::{CheckValue, IssuedShare, Shares};
use trefoil_keys::check;
use trefoil_keys::command::{Command, Operation, tka_digest};
use trefoil_keys::envelope::{self, EnvelopePrivateKey, EnvelopePublicKey, Sealed};
use trefoil_keys::handover::Handover;
use trefoil_keys::proxy_share::{ProxyShares, Recipients};
use trefoil_keys::receipt::{Outcome, Receipt};
use trefoil_keys::secret::Share;

pub(crate) const CLAIM: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";
pub(crate) const OTHER_CLAIM: &str = "__ECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";

/// The key to which hand-overs in files are sealed.
pub(crate) fn recipient() -> EnvelopePrivateKey {
    EnvelopePrivateKey::from_pkcs8_pem(include_str!("../../../keys/tests/vectors/key-2048.pem")).unwrap()
}

pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs()
}

pub(crate) fn claim(proxy: &Proxy<'_>, password: &str, claim: &str) -> Option<Answer> {
    proxy.post("/v1/bootstrap/claim", json!({ "password": password, "claim": claim }).to_string())
}

pub(crate) fn confirm(
    proxy: &Proxy<'_>,
    claim: &str,
    check_values: &BTreeMap<String, CheckValue>,
) -> Option<Answer> {
    proxy.post("/v1/bootstrap/confirm", json!({ "claim": claim, "check_values": check_values }).to_string())
}

/// Who holds a hand-over.
pub(crate) struct Tenant(pub(crate) Handover);

impl Tenant {
    /// The one to whom a ready proxy's hand-over is sealed.
    pub(crate) fn of(place: &Place) -> Self {
        let sealed = std::fs::read_to_string(place.path("handover.jwe")).unwrap();
        Self(recipient().open(&sealed).unwrap())
    }

    /// Who got this answer to a claim.
    pub(crate) fn claimed(answer: Option<Answer>) -> Self {
        let answer = answer.unwrap();
        assert_eq!(answer.status.as_u16(), 200, "{:?}", answer.problem());
        Self(Handover::from_claims(&answer.body).unwrap())
    }

    pub(crate) fn check_values(&self) -> BTreeMap<String, CheckValue> {
        let keyspaces = self.0.keyspaces.iter();
        keyspaces
            .map(|(name, of)| {
                let value = check::value(&of.key, name, of.epoch);
                (name.clone(), CheckValue { epoch: of.epoch, value })
            })
            .collect()
    }

    /// A command that is in order, without shares.
    pub(crate) fn command(&self, seq: u64, op: Operation) -> Command {
        let iat = now();
        let (tka_sha256, tkp) = (None, None);
        Command { tenant: self.0.tenant.clone(), seq, iat, exp: iat + 3600, op, tka_sha256, tkp }
    }

    /// The same with shares.
    pub(crate) fn with_shares(&self, seq: u64, op: Operation, recipients: Recipients) -> Command {
        self.sealed_to(&self.0.envelope_keys[0], seq, op, recipients)
    }

    pub(crate) fn sealed_to(
        &self,
        key: &EnvelopePublicKey,
        seq: u64,
        op: Operation,
        recipients: Recipients,
    ) -> Command {
        let tkp = envelope::seal(&ProxyShares { iat: now(), recipients }, key).unwrap();
        Command { tka_sha256: Some(tka_digest(&BTreeMap::new())), tkp: Some(tkp), ..self.command(seq, op) }
    }

    pub(crate) fn add(&self, seq: u64, user: &str) -> String {
        self.sign(&self.with_shares(seq, Operation::Add { sub: user.to_owned() }, for_user(user)))
    }

    pub(crate) fn sign(&self, command: &Command) -> String {
        self.0.signing_key.sign(command).unwrap()
    }
}

pub(crate) fn shares(keyspace: &str, epoch: u8) -> Shares {
    [(keyspace.to_owned(), IssuedShare { epoch, share: Share::random() })].into()
}

pub(crate) fn for_user(user: &str) -> Recipients {
    Recipients::User { sub: user.to_owned(), tkp: shares("main", 1) }
}

/// The verified receipt of an answer; its status must fit.
pub(crate) fn receipt(tenant: &Tenant, jws: &str, answer: Option<Answer>) -> Receipt {
    let answer = answer.unwrap();
    let receipt: Receipt = tenant.0.receipt_key.verify(answer.text().unwrap()).unwrap();
    let command: Command = tenant.0.signing_key.verifying_key().verify(jws).unwrap();
    assert!(receipt.answers(&command, jws));
    let expected = if receipt.outcome == Outcome::Applied { 200 } else { 422 };
    assert_eq!(answer.status.as_u16(), expected);
    receipt
}

/// The code with which a command is refused, or `applied`.
pub(crate) fn outcome(proxy: &Proxy<'_>, tenant: &Tenant, jws: &str) -> String {
    match receipt(tenant, jws, proxy.post("/v1/commands", jws)).outcome {
        Outcome::Applied => "applied".to_owned(),
        Outcome::Refused { code, .. } => code,
    }
}
