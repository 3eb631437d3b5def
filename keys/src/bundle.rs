//! Shares as files and records: above all the bundle that the tenant admin hands to the user's agent, one
//! JSON file.
//!
//! Invariant: a bundle that was read had mode 0600, this version, and every field and no other. No
//! error repeats anything of a file's content.

use crate::private_file::{self, FileError};
use crate::secret::Share;
use crate::signing::VerifyingKey;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// One user's share for each keyspace granted to it, by the keyspace's name.
pub type Shares = BTreeMap<String, IssuedShare>;

/// One of TKu, TKa, TKp, of one user and keyspace.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IssuedShare {
    /// The epoch of the TK that was split.
    pub epoch: u8,
    /// The share.
    #[serde(with = "share_text")]
    pub share: Share,
}

/// By which the proxy knows a TK that it has put together ([`crate::check`]).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheckValue {
    /// The epoch of the TK.
    pub epoch: u8,
    /// The check value.
    #[serde(with = "base64url")]
    pub value: Vec<u8>,
}

/// For the user's agent.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UserBundle {
    /// Of the file's format.
    pub version: Version,
    /// Tenant's name.
    pub tenant: String,
    /// UId.
    pub user: String,
    /// Id of the application that envelopes are meant for: their `aud`.
    pub audience: String,
    /// JWK (JSON text) of the proxy's public key, to which envelopes are sealed.
    #[serde(with = "json_text")]
    pub envelope_key: String,
    /// What announcements of the proxy's next keys are verified with; without it none is accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub announcement_key: Option<VerifyingKey>,
    /// Serial of the announcement before this bundle, 0 if there was none: only later ones are news.
    #[serde(default)]
    pub announcement_serial: u64,
    /// The user's TKu's.
    pub shares: Shares,
}

/// A file of shares for one receiver.
pub trait Bundle: Serialize + DeserializeOwned {
    /// What messages call it.
    const KIND: &'static str;
}

impl Bundle for UserBundle {
    const KIND: &'static str = "user bundle";
}

/// Why a bundle cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// The file itself: missing, exposed to others, not writable.
    #[error(transparent)]
    File(#[from] FileError),
    /// Not JSON, or not a bundle of the kind that was asked for.
    #[error(
        "{path} is not a valid {kind} (line {line}, column {column}); have it issued again by trefoil-admin"
    )]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What it should be.
        kind: &'static str,
        /// From 1.
        line: usize,
        /// From 1.
        column: usize,
    },
    /// Of another version of the format.
    #[error(
        "{path} has format version {found}, this program reads version 1; use programs of one release and issue the bundle again"
    )]
    Version {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u64,
    },
}

/// Reads and checks the bundle at `path`.
pub fn read<B: Bundle>(path: &Path) -> Result<B, BundleError> {
    parse(&private_file::read(path)?, path)
}

/// Checks the content of a bundle that was read from `path`.
pub fn parse<B: Bundle>(content: &[u8], path: &Path) -> Result<B, BundleError> {
    // Fields of a later version are no reason to call the file damaged.
    #[derive(Deserialize)]
    struct Header {
        version: u64,
    }
    let malformed = |e: serde_json::Error| BundleError::Malformed {
        path: path.to_owned(),
        kind: B::KIND,
        line: e.line(),
        column: e.column(),
    };
    let Header { version } = serde_json::from_slice(content).map_err(malformed)?;
    if version != VERSION {
        return Err(BundleError::Version { path: path.to_owned(), found: version });
    }
    serde_json::from_slice(content).map_err(malformed)
}

/// Writes the bundle to `path`, in place of what was there; mode 0600, durable.
pub fn write<B: Bundle>(path: &Path, bundle: &B) -> Result<(), BundleError> {
    let json = private_file::to_json(bundle).map_err(|reason| FileError::Io {
        action: "write",
        path: path.to_owned(),
        reason: reason.into(),
    })?;
    Ok(private_file::write(path, &json)?)
}

const VERSION: u64 = 1;

/// The version of the format: 1, the only one so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Version;

impl Serialize for Version {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(VERSION)
    }
}

impl<'de> Deserialize<'de> for Version {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match u64::deserialize(deserializer)? {
            VERSION => Ok(Self),
            _ => Err(serde::de::Error::custom("unknown version")),
        }
    }
}

/// A private key as PKCS#8 PEM, wiped on drop.
pub struct PrivateKeyPem(Zeroizing<String>);

impl PrivateKeyPem {
    /// Takes over PEM text.
    pub fn new(pem: Zeroizing<String>) -> Self {
        Self(pem)
    }

    /// The PEM text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A copy that somebody asked for by name.
    #[must_use]
    pub fn duplicate(&self) -> Self {
        Self(self.0.clone())
    }
}

impl Serialize for PrivateKeyPem {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for PrivateKeyPem {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(Zeroizing::new(String::deserialize(deserializer)?)))
    }
}

/// A [`Share`] as base64url without padding, for `#[serde(with = …)]`: shares have no `Serialize` of
/// their own, so that none is written by accident.
pub mod share_text {
    use super::{BorrowedText, Deserializer, Serializer, Share};

    /// Writes the share.
    pub fn serialize<S: Serializer>(share: &Share, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&share.to_base64url())
    }

    /// Reads a share without copying its text.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Share, D::Error> {
        let text = deserializer.deserialize_str(BorrowedText)?;
        Share::from_base64url(text).map_err(|_| serde::de::Error::custom("not a share"))
    }
}

/// Takes text only as it stands in the input. Text with escapes would reach us through a buffer of
/// the JSON reader that nobody wipes; base64url needs none.
struct BorrowedText;

impl<'de> serde::de::Visitor<'de> for BorrowedText {
    type Value = &'de str;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("text without escapes")
    }

    fn visit_borrowed_str<E: serde::de::Error>(self, text: &'de str) -> Result<&'de str, E> {
        Ok(text)
    }

    // The default would put the text into the error.
    fn visit_str<E: serde::de::Error>(self, _: &str) -> Result<&'de str, E> {
        Err(E::custom("text with escapes"))
    }
}

/// Public bytes as base64url without padding.
mod base64url {
    use super::{Deserialize, Deserializer, Serializer};
    use base64ct::{Base64UrlUnpadded, Encoding};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&Base64UrlUnpadded::encode_string(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(deserializer)?;
        Base64UrlUnpadded::decode_vec(&text).map_err(|_| serde::de::Error::custom("not base64url"))
    }
}

/// JSON text, embedded as the object that it is.
mod json_text {
    use super::{Deserialize, Deserializer, Serialize, Serializer};
    use serde_json::{Map, Value};

    pub(super) fn serialize<S: Serializer>(text: &str, serializer: S) -> Result<S::Ok, S::Error> {
        let object: Map<String, Value> =
            serde_json::from_str(text).map_err(|_| serde::ser::Error::custom("not a JSON object"))?;
        object.serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
        let object: Map<String, Value> = Map::deserialize(deserializer)?;
        Ok(Value::Object(object).to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    fn shares(byte: u8) -> Shares {
        BTreeMap::from([("main".to_owned(), IssuedShare { epoch: 1, share: Share::from_bytes([byte; 32]) })])
    }

    fn user_bundle() -> UserBundle {
        UserBundle {
            version: Version,
            tenant: "clinic".to_owned(),
            user: "alice".to_owned(),
            audience: "app".to_owned(),
            envelope_key: r#"{"kty":"RSA","n":"AQ","e":"AQAB"}"#.to_owned(),
            announcement_key: Some(VerifyingKey::from_bytes([5; 32])),
            announcement_serial: 4,
            shares: shares(9),
        }
    }

    #[test]
    fn user_bundle_embeds_the_key_as_an_object() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("alice.json");
        write(&path, &user_bundle()).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "no temporary file is left");
        let json: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        assert_eq!(json["version"], 1);
        assert_eq!(json["envelope_key"]["kty"], "RSA");
        assert_eq!(json["shares"]["main"]["epoch"], 1);
        let read: UserBundle = read(&path).unwrap();
        assert!(read.envelope_key.contains(r#""n":"AQ""#));
        assert_eq!(json["announcement_key"]["kty"], "OKP");
        assert_eq!(read.shares["main"].share.as_bytes(), &[9; 32]);
        assert_eq!(read.announcement_serial, 4);
        assert_eq!(read.announcement_key, Some(VerifyingKey::from_bytes([5; 32])));
    }

    fn error_for(change: impl FnOnce(&mut serde_json::Value)) -> String {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("alice.json");
        let mut json = serde_json::to_value(user_bundle()).unwrap();
        change(&mut json);
        private_file::write(&path, json.to_string().as_bytes()).unwrap();
        read::<UserBundle>(&path).err().expect("must be refused").to_string()
    }

    #[test]
    fn what_is_not_a_bundle_is_refused_without_being_repeated() {
        let marker = "ZEBRA";
        let cases: [fn(&mut serde_json::Value); 7] = [
            |json| json["extra"] = "ZEBRA".into(),
            |json| json["shares"] = "ZEBRA".into(),
            |json| json["shares"]["main"]["share"] = "ZEBRA".into(),
            |json| json["shares"]["main"]["share"] = "ZEBRA\n".into(),
            |json| json["envelope_key"] = "ZEBRA".into(),
            |json| json["announcement_key"]["x"] = "ZEBRA".into(),
            |json| drop(json.as_object_mut().unwrap().remove("user")),
        ];
        for change in cases {
            let message = error_for(change);
            assert!(message.contains("alice.json is not a valid user bundle"), "{message}");
            assert!(!message.contains(marker), "{message}");
        }
    }

    #[test]
    fn another_version_is_told_apart_from_damage() {
        let message = error_for(|json| {
            json["version"] = 2.into();
            json["new_field"] = 1.into();
        });
        assert!(message.contains("version 2"), "{message}");
    }

    #[test]
    fn a_file_that_others_may_read_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("alice.json");
        write(&path, &user_bundle()).unwrap();
        for mode in [0o640, 0o604, 0o620] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let message = read::<UserBundle>(&path).err().unwrap().to_string();
            assert!(message.contains("chmod 600"), "{message}");
        }
    }

    #[test]
    fn writing_replaces_the_whole_file_and_restores_its_mode() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("alice.json");
        fs::write(&path, vec![b' '; 100_000]).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        write(&path, &user_bundle()).unwrap();
        read::<UserBundle>(&path).unwrap();
    }

    #[test]
    fn a_pipe_or_directory_is_no_bundle() {
        let directory = tempfile::tempdir().unwrap();
        assert!(matches!(
            read::<UserBundle>(directory.path()),
            Err(BundleError::File(FileError::NotRegular(_)))
        ));
        assert!(matches!(read::<UserBundle>(&directory.path().join("none")),
            Err(BundleError::File(e)) if e.is_not_found()));
    }
}
