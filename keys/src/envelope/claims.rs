//! The claims of a user envelope as JSON (RFC 7519): `tku` is `{keyspace: {"epoch": n, "share": base64url}}`.
//!
//! Complete or rejected: a missing, doubled, empty or unknown claim is an error, since an unknown one
//! could be a restriction. The text of a share is read in place and never copied.

use super::{EnvelopeError, EpochShare, MAX_LENGTH, Reason, Scope, Sealed, UserEnvelope, are_tables};
use crate::json::{present, unique_map, unique_set};
use crate::secret::Share;
use serde::de::{Deserializer, Error};
use serde::ser::Serializer;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use zeroize::Zeroizing;

impl Sealed for UserEnvelope {
    const TYP: &'static str = "tku+jwe";
    const MAX_LENGTH: usize = MAX_LENGTH;

    fn to_claims(&self) -> Result<Zeroizing<Vec<u8>>, EnvelopeError> {
        if !self.is_complete() {
            return Err(EnvelopeError::Unsealable);
        }
        let shares = self.shares.iter();
        let claims = ClaimsOut {
            sub: &self.sub,
            iat: self.iat,
            exp: self.exp,
            jti: &self.jti,
            aud: &self.aud,
            scope: self.scope,
            max_uses: self.max_uses,
            tables: self.tables.as_ref(),
            tku: shares
                .map(|(name, s)| (name.as_str(), ShareOut { epoch: s.epoch, share: &s.share }))
                .collect(),
        };
        // Of fixed size: a buffer that grew would leave copies of shares behind.
        let mut json = Zeroizing::new(vec![0; Self::MAX_LENGTH]);
        let mut rest = json.as_mut_slice();
        serde_json::to_writer(&mut rest, &claims).map_err(|_| EnvelopeError::Unsealable)?;
        let unused = rest.len();
        json.truncate(Self::MAX_LENGTH - unused);
        Ok(json)
    }

    fn from_claims(json: &[u8]) -> Result<Self, EnvelopeError> {
        let rejected = EnvelopeError::Rejected(Reason::Claims);
        let claims: ClaimsIn = serde_json::from_slice(json).map_err(|_| rejected)?;
        let ClaimsIn { sub, iat, exp, jti, aud, scope, max_uses, tables, tku } = claims;
        let shares =
            tku.into_iter().map(|(name, ShareIn { epoch, share })| (name, EpochShare { epoch, share }));
        let shares = shares.collect();
        let envelope = Self { sub, iat, exp, jti, aud, scope, max_uses, tables, shares };
        if envelope.is_complete() { Ok(envelope) } else { Err(rejected) }
    }
}

impl UserEnvelope {
    fn is_complete(&self) -> bool {
        let texts = [&self.sub, &self.jti, &self.aud];
        texts.into_iter().chain(self.shares.keys()).all(|text| !text.is_empty())
            && !self.shares.is_empty()
            && self.exp > self.iat
            && self.max_uses != Some(0)
            && self.tables.as_ref().is_none_or(are_tables)
    }
}

#[derive(Serialize)]
struct ClaimsOut<'a> {
    sub: &'a str,
    iat: u64,
    exp: u64,
    jti: &'a str,
    aud: &'a str,
    scope: Scope,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_uses: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tables: Option<&'a BTreeSet<String>>,
    tku: BTreeMap<&'a str, ShareOut<'a>>,
}

#[derive(Serialize)]
struct ShareOut<'a> {
    epoch: u8,
    #[serde(serialize_with = "as_base64url")]
    share: &'a Share,
}

fn as_base64url<S: Serializer>(share: &Share, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&share.to_base64url())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ClaimsIn {
    sub: String,
    iat: u64,
    exp: u64,
    jti: String,
    aud: String,
    scope: Scope,
    #[serde(default, deserialize_with = "present")]
    max_uses: Option<u32>,
    #[serde(default, deserialize_with = "unique_set::present")]
    tables: Option<BTreeSet<String>>,
    #[serde(deserialize_with = "unique_map::deserialize")]
    tku: BTreeMap<String, ShareIn>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ShareIn {
    epoch: u8,
    #[serde(deserialize_with = "from_base64url")]
    share: Share,
}

/// `&str`, not `String`: only text without escapes, straight from the decrypted buffer.
fn from_base64url<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Share, D::Error> {
    Share::from_base64url(<&str>::deserialize(deserializer)?).map_err(D::Error::custom)
}

#[cfg(test)]
pub(super) mod tests {
    use super::{EnvelopeError, EpochShare, Reason, Scope, Sealed, Share, UserEnvelope};

    pub(in crate::envelope) fn envelope() -> UserEnvelope {
        let share = Share::from_bytes([7; 32]);
        UserEnvelope {
            sub: "alice".into(),
            iat: 1000,
            exp: 1060,
            jti: "j".into(),
            aud: "clinic".into(),
            scope: Scope::Read,
            max_uses: None,
            tables: None,
            shares: [("main".to_owned(), EpochShare { epoch: 1, share })].into(),
        }
    }

    const SHARE: &str = "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc";

    fn json() -> String {
        format!(
            r#"{{"sub":"alice","iat":1000,"exp":1060,"jti":"j","aud":"clinic","scope":"read","tku":{{"main":{{"epoch":1,"share":"{SHARE}"}}}}}}"#
        )
    }

    #[test]
    fn as_json() {
        assert_eq!(std::str::from_utf8(&envelope().to_claims().unwrap()).unwrap(), json());
        let read = UserEnvelope::from_claims(json().as_bytes()).unwrap();
        assert!(read.to_claims().unwrap() == envelope().to_claims().unwrap());
        let spaced = json().replace(',', " ,\n");
        assert!(UserEnvelope::from_claims(spaced.as_bytes()).is_ok());
    }

    #[test]
    fn limits_as_json() {
        let tables = ["public.visits", "public.patients"].map(str::to_owned);
        let envelope = UserEnvelope { max_uses: Some(1), tables: Some(tables.into()), ..envelope() };
        let limits = r#""read","max_uses":1,"tables":["public.patients","public.visits"]"#;
        let json = json().replacen(r#""read""#, limits, 1);
        assert_eq!(std::str::from_utf8(&envelope.to_claims().unwrap()).unwrap(), json);
        let read = UserEnvelope::from_claims(json.as_bytes()).unwrap();
        assert_eq!((read.max_uses, &read.tables), (Some(1), &envelope.tables));
    }

    #[test]
    fn only_complete_claims_are_read() {
        let escaped = SHARE.replacen('B', "\\u0042", 1);
        let twice = format!(r#"{{"main":{{"epoch":1,"share":"{SHARE}"}},"#);
        for (from, to) in [
            (r#""sub":"alice","#, ""),
            (r#""iat":1000,"#, ""),
            (r#""exp":1060,"#, ""),
            (r#""jti":"j","#, ""),
            (r#""aud":"clinic","#, ""),
            (r#""scope":"read","#, ""),
            (r#""alice""#, r#""""#),
            (r#""alice""#, "null"),
            (r#""clinic""#, r#"["clinic"]"#),
            (r#""j""#, r#""""#),
            ("1060", "1000"),
            ("1060", "1060.5"),
            ("1060", "-1"),
            ("1060", r#""1060""#),
            (r#""read""#, r#""Read""#),
            (r#""read""#, r#""admin""#),
            (r#""read""#, r#""read","max_uses":0"#),
            (r#""read""#, r#""read","max_uses":4294967296"#),
            (r#""read""#, r#""read","max_uses":null"#),
            (r#""read""#, r#""read","tables":null"#),
            (r#""read""#, r#""read","tables":[]"#),
            (r#""read""#, r#""read","tables":"public.patients""#),
            (r#""read""#, r#""read","tables":["patients"]"#),
            (r#""read""#, r#""read","tables":["public.patients",1]"#),
            (r#""read""#, r#""read","tables":["public.patients","public.patients"]"#),
            (r#""read""#, r#""read","nbf":0"#),
            (r#""read""#, r#""read","scope":"write""#),
            (r#""main""#, r#""""#),
            (r#"{"main""#, &format!(r#"{twice}"main""#)),
            (r#""epoch":1,"#, ""),
            (r#""epoch":1"#, r#""epoch":256"#),
            (r#""epoch":1"#, r#""epoch":1,"more":1"#),
            (SHARE, ""),
            (SHARE, "AAAA"),
            (SHARE, &format!("{SHARE}=")),
            (SHARE, &escaped),
            ("}}}", "}}} {}"),
            ("}}}", "}}"),
        ] {
            let altered = json().replacen(from, to, 1);
            assert_ne!(altered, json());
            let read = UserEnvelope::from_claims(altered.as_bytes());
            assert!(read.is_err_and(|e| e == EnvelopeError::Rejected(Reason::Claims)), "{from} -> {to}");
        }
        assert!(UserEnvelope::from_claims(br#"{"tku":{}}"#).is_err());
        assert!(UserEnvelope::from_claims(b"\xff").is_err());
    }

    #[test]
    fn only_complete_claims_are_written() {
        let alterations: [fn(&mut UserEnvelope); 8] = [
            |e| e.sub.clear(),
            |e| e.aud.clear(),
            |e| e.jti.clear(),
            |e| e.exp = e.iat,
            |e| e.max_uses = Some(0),
            |e| e.tables = Some([].into()),
            |e| e.tables = Some(["patients".to_owned()].into()),
            |e| e.shares.clear(),
        ];
        for alter in alterations {
            let mut envelope = envelope();
            alter(&mut envelope);
            assert!(envelope.to_claims().is_err_and(|e| e == EnvelopeError::Unsealable));
        }
    }
}
