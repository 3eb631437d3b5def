//! Parts of JSON documents that serde's own types read too leniently, for `#[serde(with = …)]`.

use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::marker::PhantomData;

/// A member that may be absent, but not `null`; to be used with `#[serde(default)]`.
pub(crate) fn present<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// A list in which nothing stands twice.
pub(crate) mod unique_set {
    use super::{BTreeSet, Deserialize, Deserializer, Error};

    /// Where it may be absent, but not `null`; to be used with `#[serde(default)]`.
    pub(crate) fn present<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<BTreeSet<String>>, D::Error> {
        let list = Vec::<String>::deserialize(deserializer)?;
        let length = list.len();
        let set: BTreeSet<String> = list.into_iter().collect();
        if set.len() == length { Ok(Some(set)) } else { Err(D::Error::custom("named twice")) }
    }
}

/// A map that rejects a name given twice, of which serde's own would keep the last.
pub(crate) mod unique_map {
    use super::{BTreeMap, Deserialize, Deserializer, Error, MapAccess, PhantomData, Visitor, fmt};
    use serde::{Serialize, Serializer};

    struct Unique<V>(PhantomData<V>);

    impl<'de, V: Deserialize<'de>> Visitor<'de> for Unique<V> {
        type Value = BTreeMap<String, V>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut values = BTreeMap::new();
            while let Some((name, value)) = map.next_entry()? {
                if values.insert(name, value).is_some() {
                    return Err(A::Error::custom("named twice"));
                }
            }
            Ok(values)
        }
    }

    pub(crate) fn serialize<V: Serialize, S: Serializer>(
        map: &BTreeMap<String, V>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        map.serialize(serializer)
    }

    pub(crate) fn deserialize<'de, V: Deserialize<'de>, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<BTreeMap<String, V>, D::Error> {
        deserializer.deserialize_map(Unique(PhantomData))
    }
}

/// A public SHA-256 as base64url without padding.
pub(crate) mod digest {
    use super::{Deserialize, Deserializer, Error};
    use base64ct::{Base64UrlUnpadded, Encoding};
    use serde::Serializer;

    pub(crate) fn serialize<S: Serializer>(digest: &[u8; 32], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&Base64UrlUnpadded::encode_string(digest))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<[u8; 32], D::Error> {
        let text = String::deserialize(deserializer)?;
        let mut digest = [0; 32];
        match Base64UrlUnpadded::decode(&text, &mut digest) {
            Ok(bytes) if bytes.len() == 32 => Ok(digest),
            _ => Err(D::Error::custom("not a SHA-256")),
        }
    }
}

/// The same where it may be absent; to be used with `#[serde(default)]`.
pub(crate) mod optional_digest {
    use super::{Deserialize, Deserializer, digest};
    use serde::{Serialize, Serializer};

    #[derive(Serialize, Deserialize)]
    struct Digest(#[serde(with = "digest")] [u8; 32]);

    pub(crate) fn serialize<S: Serializer>(
        digest: &Option<[u8; 32]>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        digest.map(Digest).serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<[u8; 32]>, D::Error> {
        // Present means present: `null` is no digest.
        Digest::deserialize(deserializer).map(|digest| Some(digest.0))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use base64ct::{Base64UrlUnpadded, Encoding};
    use std::collections::BTreeMap;

    pub(crate) fn base64url(bytes: &[u8]) -> String {
        Base64UrlUnpadded::encode_string(bytes)
    }

    #[derive(serde::Deserialize)]
    struct Document(#[serde(with = "super::unique_map")] BTreeMap<String, u8>);

    #[test]
    fn a_name_given_twice_is_an_error() {
        let read = |json| serde_json::from_str::<Document>(json).map(|document| document.0.len());
        assert_eq!(read(r#"{"a":1,"b":2}"#).unwrap(), 2);
        assert_eq!(read("{}").unwrap(), 0);
        assert!(read(r#"{"a":1,"a":1}"#).is_err());
        assert!(read(r#"{"a":1,"\u0061":1}"#).is_err());
        assert!(read("[]").is_err());
    }
}
