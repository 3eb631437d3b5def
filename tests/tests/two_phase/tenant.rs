//! A tenant admin of its own making: holds what the hand-over gave, and signs what it is told to.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};
use trefoil_keys::bundle::{IssuedShare, Shares, UserBundle, Version};
use trefoil_keys::command::{Command, Delivery, Operation, tka_digest};
use trefoil_keys::envelope;
use trefoil_keys::handover::Handover;
use trefoil_keys::proxy_share::{ProxyShares, Recipients};
use trefoil_keys::secret::Share;
use trefoil_keys::share::{split, split_beside};

pub(crate) struct Tenant {
    handover: Handover,
    next: u64,
    /// TKu's, the same for good but after `change`.
    users: BTreeMap<String, Share>,
}

pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn shares(share: Share) -> Shares {
    Shares::from([("main".to_owned(), IssuedShare { epoch: 1, share })])
}

impl Tenant {
    pub(crate) fn new(handover: Handover) -> Self {
        Self { handover, next: 1, users: BTreeMap::new() }
    }

    /// Number of the next command.
    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    /// The next command was applied.
    pub(crate) fn applied(&mut self) {
        self.next += 1;
    }

    /// What `alice` has, say.
    pub(crate) fn bundle(&self, user: &str) -> UserBundle {
        UserBundle {
            version: Version,
            tenant: self.handover.tenant.clone(),
            user: user.to_owned(),
            audience: self.handover.application.clone(),
            envelope_key: self.handover.envelope_keys[0].to_jwk(),
            announcement_key: Some(self.handover.signing_key.verifying_key().clone()),
            announcement_serial: 0,
            shares: shares(self.users[user].duplicate()),
        }
    }

    /// The next command, with fresh shares.
    pub(crate) fn delivery(&mut self, op: Operation) -> Delivery {
        self.delivery_numbered(self.next, op)
    }

    /// The same with another number.
    pub(crate) fn delivery_numbered(&mut self, seq: u64, op: Operation) -> Delivery {
        let (tka, recipients) = match &op {
            Operation::Add { sub } | Operation::Change { sub } => {
                let (tka, tkp) = self.fresh(sub);
                (BTreeMap::from([(sub.clone(), tka)]), Some(Recipients::User { sub: sub.clone(), tkp }))
            }
            Operation::AddBatch | Operation::Renew => {
                let (mut tka, mut tkp) = (BTreeMap::new(), BTreeMap::new());
                for (user, tku) in &self.users {
                    let triple = split_beside(&self.handover.keyspaces["main"].key, tku);
                    tka.insert(user.clone(), shares(triple.application));
                    tkp.insert(user.clone(), shares(triple.proxy));
                }
                (tka, Some(Recipients::Batch(tkp)))
            }
            Operation::Withdraw { .. } | Operation::AddKeyspace { .. } | Operation::RotateKey { .. } => {
                (BTreeMap::new(), None)
            }
        };
        self.sign(seq, op, tka, recipients)
    }

    /// The next command with a proxy share that is sealed for another user.
    pub(crate) fn delivery_sealed_for(&mut self, other: &str, op: Operation) -> Delivery {
        let sub = op.sub().unwrap().to_owned();
        let application = shares(Share::random());
        let tkp = shares(Share::random());
        let recipients = Recipients::User { sub: other.to_owned(), tkp };
        self.sign(self.next, op, BTreeMap::from([(sub, application)]), Some(recipients))
    }

    fn sign(
        &self,
        seq: u64,
        op: Operation,
        tka: BTreeMap<String, Shares>,
        recipients: Option<Recipients>,
    ) -> Delivery {
        let key = &self.handover.envelope_keys[0];
        let seal = |recipients| envelope::seal(&ProxyShares { iat: now(), recipients }, key).unwrap();
        let command = Command {
            tenant: self.handover.tenant.clone(),
            seq,
            iat: now(),
            exp: now() + 3600,
            tka_sha256: recipients.is_some().then(|| tka_digest(&tka)),
            tkp: recipients.map(seal),
            op,
        };
        Delivery { version: Version, command: self.handover.signing_key.sign(&command).unwrap(), tka }
    }

    /// TKa and TKp of a new triple; a user that is not known yet gets its TKu.
    fn fresh(&mut self, user: &str) -> (Shares, Shares) {
        let triple = split(&self.handover.keyspaces["main"].key);
        self.users.entry(user.to_owned()).or_insert(triple.user);
        (shares(triple.application), shares(triple.proxy))
    }
}
