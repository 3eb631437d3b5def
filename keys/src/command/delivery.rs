//! What the tenant admin hands to the application: a command and the shares that are not the proxy's.

use super::{Command, MAX_BATCH, Operation, tka_digest};
use crate::bundle::{Bundle, Shares, Version};
use crate::json::unique_map;
use crate::private_file;
use crate::signing::{Reason, SigningError, VerifyingKey};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// Longest delivery, as JSON, in bytes.
const MAX_LENGTH: usize = 4 << 20;

/// A command with the application's half. Travels by HTTPS, or as a file of mode 0600
/// ([`crate::bundle::read`], [`crate::bundle::write`]).
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Delivery {
    /// Of the format.
    pub version: Version,
    /// The signed [`Command`].
    pub command: String,
    /// TKa's by UId; empty if the command carries no shares.
    #[serde(with = "unique_map")]
    pub tka: BTreeMap<String, Shares>,
}

impl Bundle for Delivery {
    const KIND: &'static str = "command file";
}

impl Delivery {
    /// Longest delivery, as JSON, in bytes.
    pub const MAX_LENGTH: usize = MAX_LENGTH;

    /// As JSON.
    ///
    /// # Errors
    /// [`SigningError::Unsignable`] if it is too long.
    pub fn to_json(&self) -> Result<Zeroizing<Vec<u8>>, SigningError> {
        match private_file::to_json(self) {
            Ok(json) if json.len() <= MAX_LENGTH => Ok(json),
            _ => Err(SigningError::Unsignable),
        }
    }

    /// Reads JSON; the command in it remains to be opened.
    ///
    /// # Errors
    /// [`SigningError::Rejected`].
    pub fn from_json(json: &[u8]) -> Result<Self, SigningError> {
        if json.len() > MAX_LENGTH {
            return Err(SigningError::Rejected(Reason::Size));
        }
        serde_json::from_slice(json).map_err(|_| SigningError::Rejected(Reason::Claims))
    }

    /// The command, if `tenant_key` signed it and the shares here are those that it was signed for.
    /// Tenant, number and times remain to be checked.
    ///
    /// # Errors
    /// [`SigningError::Rejected`].
    pub fn open(&self, tenant_key: &VerifyingKey) -> Result<Command, SigningError> {
        let command: Command = tenant_key.verify(&self.command)?;
        if self.fits(&command) { Ok(command) } else { Err(SigningError::Rejected(Reason::Shares)) }
    }

    fn fits(&self, command: &Command) -> bool {
        let users = match &command.op {
            Operation::Add { sub } | Operation::Change { sub } => self.tka.keys().eq([sub]),
            Operation::AddBatch | Operation::Renew => (1..=MAX_BATCH).contains(&self.tka.len()),
            Operation::Withdraw { .. } | Operation::AddKeyspace { .. } | Operation::RotateKey { .. } => {
                self.tka.is_empty()
            }
        };
        let named = self.tka.iter().all(|(uid, shares)| {
            !uid.is_empty() && !shares.is_empty() && shares.keys().all(|keyspace| !keyspace.is_empty())
        });
        let digest = command.tka_sha256.is_none_or(|digest| tka_digest(&self.tka).ct_eq(&digest).into());
        users && named && digest
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{command, shares};
    use super::{Command, Delivery, MAX_BATCH, MAX_LENGTH, Operation, Version, tka_digest};
    use crate::bundle::{self, Shares};
    use crate::signing::{Reason, SigningError, SigningKey};
    use std::collections::BTreeMap;
    use zeroize::Zeroizing;

    fn key() -> SigningKey {
        SigningKey::from_seed(Zeroizing::new([3; 32])).unwrap()
    }

    fn add() -> Operation {
        Operation::Add { sub: "alice".into() }
    }

    /// Signed for exactly these shares.
    fn delivery<const N: usize>(op: Operation, tka: [(&str, Shares); N]) -> Delivery {
        let tka = tka.into_iter().map(|(uid, shares)| (uid.to_owned(), shares)).collect();
        let tka_sha256 = op.carries_shares().then(|| tka_digest(&tka));
        let command = Command { tka_sha256, ..command(op) };
        Delivery { version: Version, command: key().sign(&command).unwrap(), tka }
    }

    fn rejected(delivery: &Delivery) -> Option<Reason> {
        match delivery.open(key().verifying_key()) {
            Ok(_) => None,
            Err(SigningError::Rejected(reason)) => Some(reason),
            Err(other) => panic!("{other}"),
        }
    }

    #[test]
    fn the_shares_must_be_those_that_were_signed_for() {
        let alice = || shares(&["main"], 7);
        assert_eq!(rejected(&delivery(add(), [("alice", alice())])), None);
        let replaced: [BTreeMap<String, Shares>; 4] = [
            BTreeMap::new(),
            [("alice".to_owned(), shares(&["main"], 8))].into(),
            [("bob".to_owned(), alice())].into(),
            [("alice".to_owned(), alice()), ("bob".to_owned(), alice())].into(),
        ];
        for tka in replaced {
            let altered = Delivery { tka, ..delivery(add(), [("alice", alice())]) };
            assert_eq!(rejected(&altered), Some(Reason::Shares));
        }
    }

    /// Even the tenant admin cannot sign one user's shares under another's UId.
    #[test]
    fn the_shares_must_be_for_the_users_of_the_operation() {
        let main = || shares(&["main"], 7);
        for wrong in [
            delivery(add(), [("bob", main())]),
            delivery(add(), [("alice", main()), ("bob", main())]),
            delivery(add(), [("alice", shares(&[], 7))]),
            delivery(add(), [("alice", shares(&[""], 7))]),
            delivery(Operation::Renew, []),
            delivery(Operation::Renew, [("", main())]),
            delivery(Operation::Withdraw { sub: "alice".into() }, [("alice", main())]),
            delivery(Operation::RotateKey { overlap: 60 }, [("alice", main())]),
        ] {
            assert_eq!(rejected(&wrong), Some(Reason::Shares));
        }
        for right in [
            delivery(Operation::Change { sub: "alice".into() }, [("alice", main())]),
            delivery(Operation::Renew, [("alice", main()), ("bob", main())]),
            delivery(Operation::Withdraw { sub: "alice".into() }, []),
            delivery(Operation::RotateKey { overlap: 60 }, []),
        ] {
            assert_eq!(rejected(&right), None);
        }
    }

    #[test]
    fn another_key_is_rejected() {
        let delivery = delivery(add(), [("alice", shares(&["main"], 7))]);
        let opened = delivery.open(SigningKey::generate().unwrap().verifying_key());
        assert_eq!(opened.err(), Some(SigningError::Rejected(Reason::Kid)));
    }

    #[test]
    fn as_json_and_as_a_file() {
        let sent = delivery(add(), [("alice", shares(&["main", "more"], 7))]);
        let read = Delivery::from_json(&sent.to_json().unwrap()).unwrap();
        assert_eq!(rejected(&read), None);
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("00000003.json");
        bundle::write(&path, &sent).unwrap();
        assert_eq!(rejected(&bundle::read(&path).unwrap()), None);
    }

    #[test]
    fn what_is_no_delivery() {
        let json = delivery(add(), [("alice", shares(&["main"], 7))]).to_json().unwrap();
        let json = std::str::from_utf8(&json).unwrap();
        let again = r#""alice": {}, "alice": {"#;
        for (from, to) in [
            (r#""version": 1"#, r#""version": 2"#),
            (r#""version": 1,"#, ""),
            (r#""command""#, r#""commands""#),
            (r#""tka""#, r#""tkp""#),
            (r#""alice": {"#, again),
            ("BwcH", "!wcH"),
            ("{", r#"{"more":1,"#),
        ] {
            let altered = json.replacen(from, to, 1);
            assert_ne!(altered, json);
            let read = Delivery::from_json(altered.as_bytes());
            assert_eq!(read.err(), Some(SigningError::Rejected(Reason::Claims)), "{from} -> {to}");
        }
        let large = Delivery::from_json(&vec![b' '; MAX_LENGTH + 1]);
        assert_eq!(large.err(), Some(SigningError::Rejected(Reason::Size)));
    }

    /// With names of usual length, and the sealed half beside it.
    #[test]
    fn a_whole_batch_fits() {
        use crate::proxy_share::{ProxyShares, Recipients};
        let users = || -> BTreeMap<String, Shares> {
            let user = |n| (format!("user-{n:06}@clinic.example"), shares(&["main", "billing"], 7));
            (0..MAX_BATCH).map(user).collect()
        };
        let pem = include_str!("../../tests/vectors/proxy-key.pem");
        let proxy = crate::envelope::EnvelopePrivateKey::from_pkcs8_pem(pem).unwrap();
        let batch = ProxyShares { iat: 1000, recipients: Recipients::Batch(users()) };
        let tkp = crate::envelope::seal(&batch, proxy.public_key()).unwrap();
        let tka_sha256 = Some(tka_digest(&users()));
        let command = Command { tkp: Some(tkp), tka_sha256, ..command(Operation::Renew) };
        let sent = Delivery { version: Version, command: key().sign(&command).unwrap(), tka: users() };
        assert_eq!(rejected(&Delivery::from_json(&sent.to_json().unwrap()).unwrap()), None);
    }
}
