//! Appointments: what the tenant admin signs for a new proxy that is to take the place of a lost one.
//! The new proxy serves the same TK without ever seeing it: it learns by which check values TK is known,
//! whose commands it obeys, and from which number on. Nothing in it is secret.
//!
//! An appointment makes no proxy the tenant's: that does the tenant admin, who pins the certificate of the
//! one that took it up.

use crate::bundle::CheckValue;
use crate::json::unique_map;
use crate::signing::{Claims, SigningError, VerifyingKey, compact};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Longest time between `iat` and `exp`, in seconds: 31 days.
pub const MAX_VALIDITY: u64 = 31 * 24 * 60 * 60;

/// What a new proxy begins with. Times are seconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Appointment {
    /// Tenant's name.
    pub tenant: String,
    /// Id of the application that the proxy serves.
    pub application: String,
    /// By which TK is known, by keyspace.
    #[serde(with = "unique_map")]
    pub keyspaces: BTreeMap<String, CheckValue>,
    /// What the tenant admin signs with.
    pub tenant_key: VerifyingKey,
    /// Number of the last command that was signed: the new proxy takes none up to it.
    pub seq: u64,
    /// Issued at.
    pub iat: u64,
    /// Expires at; later than `iat` by at most [`MAX_VALIDITY`].
    pub exp: u64,
}

impl Appointment {
    /// Reads an appointment by the key that it names itself. This shows only that it is whole: whose key
    /// that is, people must compare, and the tenant admin does when it pins the proxy.
    ///
    /// # Errors
    /// [`SigningError::Rejected`].
    pub fn introduce(jws: &str) -> Result<Self, SigningError> {
        compact::read_unverified::<Self>(jws)?.tenant_key.verify(jws)
    }
}

impl Claims for Appointment {
    const TYP: &'static str = "trefoil-appointment+jws";
    const MAX_LENGTH: usize = 64 * 1024;

    fn is_complete(&self) -> bool {
        let texts = [&self.tenant, &self.application];
        texts.into_iter().chain(self.keyspaces.keys()).all(|text| !text.is_empty())
            && !self.keyspaces.is_empty()
            && self.keyspaces.values().all(|check| !check.value.is_empty())
            && self.exp.checked_sub(self.iat).is_some_and(|time| (1..=MAX_VALIDITY).contains(&time))
    }
}

#[cfg(test)]
mod tests {
    use super::{Appointment, BTreeMap, CheckValue, Claims, MAX_VALIDITY, SigningError};
    use crate::signing::{Reason, SigningKey, compact};
    use proptest::prelude::{ProptestConfig, any, prop, prop_assert_eq, proptest};
    use zeroize::Zeroizing;

    fn key() -> SigningKey {
        SigningKey::from_seed(Zeroizing::new([3; 32])).unwrap()
    }

    fn appointment() -> Appointment {
        Appointment {
            tenant: "clinic".into(),
            application: "clinic-app".into(),
            keyspaces: BTreeMap::from([("main".to_owned(), CheckValue { epoch: 1, value: vec![7; 32] })]),
            tenant_key: key().verifying_key().clone(),
            seq: 9,
            iat: 1000,
            exp: 2000,
        }
    }

    #[test]
    fn an_appointment_is_read_by_its_own_key() {
        let jws = key().sign(&appointment()).unwrap();
        assert_eq!(Appointment::introduce(&jws), Ok(appointment()));
        // One key named and another one used.
        let other = SigningKey::generate().unwrap();
        let forged = other.sign(&appointment()).unwrap();
        assert_eq!(Appointment::introduce(&forged), Err(SigningError::Rejected(Reason::Kid)));
        let (message, _) = jws.rsplit_once('.').unwrap();
        let (_, signature) = forged.rsplit_once('.').unwrap();
        let forged = format!("{message}.{signature}");
        assert_eq!(Appointment::introduce(&forged), Err(SigningError::Rejected(Reason::Signature)));
        assert_eq!(Appointment::introduce("a.b"), Err(SigningError::Rejected(Reason::Form)));
    }

    #[test]
    fn only_complete_appointments_are_read() {
        let json = serde_json::to_string(&appointment()).unwrap();
        assert_eq!(compact::read::<Appointment>(json.as_bytes()), Ok(appointment()));
        let late = format!(r#""exp":{}"#, 1000 + MAX_VALIDITY + 1);
        for (from, to) in [
            (r#""clinic""#, r#""""#),
            (r#""clinic-app""#, r#""""#),
            (r#""seq":9,"#, ""),
            (r#""seq":9"#, r#""seq":-9"#),
            (r#""seq":9"#, r#""seq":9,"seq":10"#),
            (r#""seq":9"#, r#""seq":9,"more":1"#),
            (r#""exp":2000"#, r#""exp":1000"#),
            (r#""exp":2000"#, &late),
            (r#""epoch":1"#, r#""epoch":256"#),
            (r#""main":"#, r#""":"#),
            (r#""tenant_key""#, r#""receipt_key""#),
        ] {
            let altered = json.replacen(from, to, 1);
            assert_ne!(altered, json);
            assert!(compact::read::<Appointment>(altered.as_bytes()).is_err(), "{from} -> {to}");
        }
        assert!(!Appointment { keyspaces: BTreeMap::new(), ..appointment() }.is_complete());
        let unknown = BTreeMap::from([("main".to_owned(), CheckValue { epoch: 1, value: Vec::new() })]);
        assert!(!Appointment { keyspaces: unknown, ..appointment() }.is_complete());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn appointments_there_and_back(
            names in prop::array::uniform2("\\PC{1,40}"),
            keyspaces in prop::collection::btree_map("\\PC{1,40}", (any::<u8>(), any::<[u8; 32]>()), 1..5),
            seq in any::<u64>(),
            iat in 0..u64::MAX - MAX_VALIDITY,
            validity in 1..=MAX_VALIDITY,
        ) {
            let [tenant, application] = names;
            let check = |(epoch, value): (u8, [u8; 32])| CheckValue { epoch, value: value.to_vec() };
            let keyspaces = keyspaces.into_iter().map(|(name, of)| (name, check(of))).collect();
            let exp = iat + validity;
            let appointment = Appointment { tenant, application, keyspaces, seq, iat, exp, ..appointment() };
            let jws = key().sign(&appointment).unwrap();
            prop_assert_eq!(Appointment::introduce(&jws), Ok(appointment));
        }
    }
}
