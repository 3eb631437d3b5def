//! Announcements: what the tenant admin signs about the proxy's keys, so that the users' agents learn of
//! a new one without trusting whoever brings the news.

use crate::bundle::UserBundle;
use crate::envelope::{EnvelopePublicKey, all_different};
use crate::json::unique_map;
use crate::signing::{Claims, Reason, SigningError};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The keys that envelopes may be sealed to. Of two announcements the one with the higher serial holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Announcement {
    /// Tenant's name.
    pub tenant: String,
    /// From 1 up.
    pub serial: u64,
    /// When it was signed, in seconds since 1970.
    pub iat: u64,
    /// The proxy's keys, the current one first.
    pub envelope_keys: Vec<EnvelopePublicKey>,
    /// Until when the proxy accepts a former key, by its `kid`, in seconds since 1970.
    #[serde(with = "unique_map")]
    pub retires: BTreeMap<String, u64>,
}

impl Announcement {
    /// The key to seal to from now on; there is one in all that were verified.
    pub fn current(&self) -> Option<&EnvelopePublicKey> {
        self.envelope_keys.first()
    }
}

/// Why a user's agent does not heed an announcement.
#[derive(Debug, thiserror::Error)]
pub enum AnnouncementError {
    /// The bundle is from before there were announcements.
    #[error("the user bundle does not say who announces keys; have it issued again by trefoil-admin")]
    NoKey,
    /// Not signed by the user's tenant admin, or altered.
    #[error("the announcement was rejected: {0}")]
    Rejected(Reason),
    /// Of another tenant.
    #[error("the announcement is another tenant's")]
    Tenant,
}

impl UserBundle {
    /// What the user's tenant admin announces with `jws`. It is news if its serial is higher than that of
    /// the bundle and of every announcement before.
    ///
    /// # Errors
    /// [`AnnouncementError`].
    pub fn verify_announcement(&self, jws: &str) -> Result<Announcement, AnnouncementError> {
        let key = self.announcement_key.as_ref().ok_or(AnnouncementError::NoKey)?;
        let announcement: Announcement = key.verify(jws).map_err(|error| match error {
            SigningError::Rejected(reason) => AnnouncementError::Rejected(reason),
            SigningError::Unsignable | SigningError::Key => AnnouncementError::Rejected(Reason::Signature),
        })?;
        if announcement.tenant == self.tenant { Ok(announcement) } else { Err(AnnouncementError::Tenant) }
    }
}

impl Claims for Announcement {
    const TYP: &'static str = "trefoil-announcement+jws";
    const MAX_LENGTH: usize = 16 * 1024;

    fn is_complete(&self) -> bool {
        let Some((_, former)) = self.envelope_keys.split_first() else { return false };
        !self.tenant.is_empty()
            && self.serial > 0
            && all_different(&self.envelope_keys)
            && self.retires.keys().all(|kid| former.iter().any(|key| key.kid() == kid))
    }
}

#[cfg(test)]
mod tests {
    use super::{Announcement, AnnouncementError, Claims, EnvelopePublicKey, Reason, UserBundle};
    use crate::bundle::{Shares, Version};
    use crate::envelope::EnvelopePrivateKey;
    use crate::signing::{SigningKey, compact};
    use proptest::prelude::{ProptestConfig, any, prop_assert_eq, proptest};

    fn keys() -> [EnvelopePublicKey; 2] {
        [include_str!("../tests/vectors/proxy-key.pem"), include_str!("../tests/vectors/key-2048.pem")]
            .map(|pem| EnvelopePrivateKey::from_pkcs8_pem(pem).unwrap().public_key().clone())
    }

    fn announcement() -> Announcement {
        let retires = [(keys()[1].kid().to_owned(), 2000)].into();
        let tenant = "clinic".to_owned();
        Announcement { tenant, serial: 2, iat: 1000, envelope_keys: keys().to_vec(), retires }
    }

    #[test]
    fn the_first_key_is_the_current_one() {
        assert!(announcement().is_complete());
        assert_eq!(announcement().current(), Some(&keys()[0]));
    }

    #[test]
    fn an_agent_heeds_its_own_tenant_admin() {
        let [tenant_admin, other] = [(), ()].map(|()| SigningKey::generate().unwrap());
        let bundle = |announcement_key: Option<&SigningKey>| UserBundle {
            version: Version,
            tenant: "clinic".to_owned(),
            user: "alice".to_owned(),
            audience: "clinic-app".to_owned(),
            envelope_key: keys()[1].to_jwk(),
            announcement_key: announcement_key.map(|key| key.verifying_key().clone()),
            announcement_serial: 0,
            shares: Shares::new(),
        };
        let jws = tenant_admin.sign(&announcement()).unwrap();
        let heard = |key, jws: &str| bundle(key).verify_announcement(jws);
        assert_eq!(heard(Some(&tenant_admin), &jws).unwrap(), announcement());
        assert!(matches!(heard(None, &jws), Err(AnnouncementError::NoKey)));
        assert!(matches!(heard(Some(&other), &jws), Err(AnnouncementError::Rejected(Reason::Kid))));
        let foreign = Announcement { tenant: "other".to_owned(), ..announcement() };
        let jws = tenant_admin.sign(&foreign).unwrap();
        assert!(matches!(heard(Some(&tenant_admin), &jws), Err(AnnouncementError::Tenant)));
    }

    #[test]
    fn only_complete_announcements_are_read() {
        let json = serde_json::to_string(&announcement()).unwrap();
        assert_eq!(compact::read(json.as_bytes()), Ok(announcement()));
        let [current, former] = keys();
        let retires = format!(r#""{}":2000"#, former.kid());
        for (from, to) in [
            (r#""clinic""#, r#""""#),
            (r#""serial":2"#, r#""serial":0"#),
            (r#""serial":2"#, r#""serial":2,"serial":3"#),
            (r#""serial":2"#, r#""serial":2,"more":1"#),
            (r#""iat":1000,"#, ""),
            (&retires, &format!("{retires},{retires}")),
            (&retires, &format!(r#""{}":2000"#, current.kid())),
            (&retires, r#""x":2000"#),
            ("2000", "2000.5"),
        ] {
            let altered = json.replacen(from, to, 1);
            assert_ne!(altered, json);
            assert!(compact::read::<Announcement>(altered.as_bytes()).is_err(), "{from} -> {to}");
        }
        let twice = vec![current.clone(), former, current];
        assert!(!Announcement { envelope_keys: twice, ..announcement() }.is_complete());
        let none = Announcement { envelope_keys: vec![], retires: [].into(), ..announcement() };
        assert!(!none.is_complete());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn announcements_there_and_back(
            tenant in "\\PC{1,40}",
            serial in 1..=u64::MAX,
            iat in any::<u64>(),
            retires_at in any::<Option<u64>>(),
        ) {
            let retires = retires_at.map(|at| (keys()[1].kid().to_owned(), at)).into_iter().collect();
            let announcement = Announcement { tenant, serial, iat, retires, ..announcement() };
            let key = SigningKey::generate().unwrap();
            prop_assert_eq!(key.verifying_key().verify(&key.sign(&announcement).unwrap()), Ok(announcement));
        }
    }
}
