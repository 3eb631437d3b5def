//! The text form of an application's shares TKa for several keyspaces:
//! `main:<base64url>,billing:<base64url>`, the same on every carrier.

use super::{MAX_VALUE, MalformedCarrier};
use crate::secret::Share;
use std::collections::BTreeMap;
use zeroize::Zeroizing;

/// A share in base64url.
const SHARE_LENGTH: usize = 43;

/// Reads the text form: at least one share, each keyspace once. The shares lie in guarded memory.
pub fn parse(text: &str) -> Result<BTreeMap<String, Share>, MalformedCarrier> {
    if text.len() > MAX_VALUE {
        return Err(MalformedCarrier::TooLong);
    }
    let mut shares = BTreeMap::new();
    for part in text.split(',') {
        let (keyspace, share) = part.rsplit_once(':').ok_or(MalformedCarrier::AppShare)?;
        if !is_keyspace(keyspace) {
            return Err(MalformedCarrier::AppShare);
        }
        let share = Share::guarded_from_base64url(share).map_err(|_| MalformedCarrier::NoRoom)?;
        let share = share.map_err(|_| MalformedCarrier::AppShare)?;
        if shares.insert(keyspace.to_owned(), share).is_some() {
            return Err(MalformedCarrier::Duplicate);
        }
    }
    Ok(shares)
}

/// Writes the text form. An error is a keyspace whose name cannot stand in it, or too many.
pub fn format<'a, I>(shares: I) -> Result<Zeroizing<String>, MalformedCarrier>
where
    I: IntoIterator<Item = (&'a str, &'a Share), IntoIter: Clone>,
{
    let shares = shares.into_iter();
    let length: usize = shares.clone().map(|(keyspace, _)| keyspace.len() + 1 + SHARE_LENGTH + 1).sum();
    if length > MAX_VALUE {
        return Err(MalformedCarrier::TooLong);
    }
    // Never grows, so no copy of a share is left behind unwiped.
    let mut text = Zeroizing::new(String::with_capacity(length));
    for (keyspace, share) in shares {
        if !is_keyspace(keyspace) {
            return Err(MalformedCarrier::AppShare);
        }
        let share = share.to_base64url();
        if !text.is_empty() {
            text.push(',');
        }
        text.push_str(keyspace);
        text.push(':');
        text.push_str(&share);
    }
    Ok(text)
}

/// Whether a keyspace's name can stand in the text form.
pub fn is_keyspace(name: &str) -> bool {
    !name.is_empty() && !name.chars().any(|c| c.is_control() || matches!(c, ',' | ':'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ZERO: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

    #[test]
    fn bytes() {
        let zero = Share::from_bytes([0; 32]);
        let text = format([("billing", &zero), ("main", &zero)]).unwrap();
        assert_eq!(text.as_str(), format!("billing:{ZERO},main:{ZERO}"));
        assert!(format([]).unwrap().is_empty());
        assert_eq!(format([("a,b", &zero)]).err(), Some(MalformedCarrier::AppShare));
        assert_eq!(format([("é".repeat(MAX_VALUE).as_str(), &zero)]).err(), Some(MalformedCarrier::TooLong));
    }

    #[test]
    fn refused() {
        let reason = |text: &str| parse(text).err();
        for text in ["", ",", "main", "main:", "main:AA", &format!("main:{ZERO}="), &format!("main:{ZERO},")]
        {
            assert_eq!(reason(text), Some(MalformedCarrier::AppShare), "{text}");
        }
        assert_eq!(reason(&format!(":{ZERO}")), Some(MalformedCarrier::AppShare));
        assert_eq!(reason(&format!("a:b:{ZERO}")), Some(MalformedCarrier::AppShare));
        assert_eq!(reason(&format!("main:{ZERO},main:{ZERO}")), Some(MalformedCarrier::Duplicate));
        assert_eq!(reason(&"a".repeat(MAX_VALUE + 1)), Some(MalformedCarrier::TooLong));
    }

    proptest! {
        #[test]
        fn round_trip(shares in proptest::collection::btree_map("[a-z0-9_ é-]{1,12}", any::<[u8; 32]>(), 1..5)) {
            let shares: BTreeMap<_, _> = shares.into_iter().map(|(k, b)| (k, Share::from_bytes(b))).collect();
            let text = format(shares.iter().map(|(keyspace, share)| (keyspace.as_str(), share))).unwrap();
            let read = parse(&text).unwrap();
            prop_assert!(read.keys().eq(shares.keys()));
            prop_assert!(read.values().zip(shares.values()).all(|(a, b)| a.as_bytes() == b.as_bytes()));
        }
    }
}
