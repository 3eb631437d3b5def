//! What is put in escrow, and its compact form: someone may have to type it from paper.
//!
//! `version ‖ application ‖ n ‖ n × (keyspace ‖ epoch ‖ TK) ‖ signing seed ‖ receipt key ‖ m ‖
//! m × (url ‖ fingerprint)`: a text is its length in one byte and its UTF-8; m is 0 or 1; all else has
//! fixed length. The tenant's name stands beside the sealed payload and is bound to it.

use crate::secret::{LENGTH, TenantKey};
use crate::signing::{SigningKey, VerifyingKey};
use crate::tls::Fingerprint;
use std::collections::BTreeMap;
use zeroize::Zeroizing;

const VERSION: u8 = 1;

/// All that a new vault needs to go on with a tenant.
pub struct Payload {
    /// The tenant's name.
    pub tenant: String,
    /// Id of the tenant's application.
    pub application: String,
    /// The tenant's keys by keyspace and epoch.
    pub keys: BTreeMap<(String, u8), TenantKey>,
    /// What the tenant admin signs with.
    pub signing_key: SigningKey,
    /// What the proxy signs with.
    pub receipt_key: VerifyingKey,
    /// Where the proxy's admin port is, if the vault knows it.
    pub proxy: Option<Endpoint>,
}

/// Where the proxy's admin port is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// URL, `https://…`.
    pub url: String,
    /// Of the certificate there.
    pub fingerprint: Fingerprint,
}

/// A name, a URL, or the number of keys does not fit into one byte.
pub(super) struct TooLong;

/// The bytes are of another version, or no payload.
pub(super) struct Malformed;

impl Payload {
    /// Everything but the tenant's name.
    pub(super) fn to_bytes(&self) -> Result<Zeroizing<Vec<u8>>, TooLong> {
        // Sized once: a buffer that grows leaves its former place behind unwiped.
        let texts = self.keys.keys().map(|(keyspace, _)| keyspace.len() + LENGTH + 2).sum::<usize>();
        let proxy = self.proxy.as_ref().map_or(0, |proxy| proxy.url.len() + LENGTH + 1);
        let size = 4 + self.application.len() + texts + 2 * LENGTH + proxy;
        let mut out = Zeroizing::new(Vec::with_capacity(size));

        out.push(VERSION);
        put_text(&mut out, &self.application)?;
        out.push(u8::try_from(self.keys.len()).map_err(|_| TooLong)?);
        for ((keyspace, epoch), key) in &self.keys {
            put_text(&mut out, keyspace)?;
            out.push(*epoch);
            out.extend_from_slice(key.as_bytes());
        }
        out.extend_from_slice(self.signing_key.seed());
        out.extend_from_slice(self.receipt_key.as_bytes());
        out.push(u8::from(self.proxy.is_some()));
        if let Some(proxy) = &self.proxy {
            put_text(&mut out, &proxy.url)?;
            out.extend_from_slice(proxy.fingerprint.as_bytes());
        }
        debug_assert_eq!(out.len(), size);
        Ok(out)
    }

    pub(super) fn from_bytes(tenant: &str, bytes: &[u8]) -> Result<Self, Malformed> {
        let mut rest = Reader(bytes);
        if rest.byte()? != VERSION {
            return Err(Malformed);
        }
        let application = rest.text()?;
        let mut keys = BTreeMap::new();
        for _ in 0..rest.byte()? {
            let name = (rest.text()?, rest.byte()?);
            let key = TenantKey::from_bytes(Zeroizing::new(*rest.array()?));
            if keys.insert(name, key).is_some() {
                return Err(Malformed);
            }
        }
        let signing_key = SigningKey::from_seed(Zeroizing::new(*rest.array()?)).map_err(|_| Malformed)?;
        let receipt_key = VerifyingKey::from_bytes(*rest.array()?);
        let proxy = match rest.byte()? {
            0 => None,
            1 => Some(Endpoint { url: rest.text()?, fingerprint: Fingerprint::from_bytes(*rest.array()?) }),
            _ => return Err(Malformed),
        };
        if !rest.0.is_empty() {
            return Err(Malformed);
        }
        Ok(Self { tenant: tenant.to_owned(), application, keys, signing_key, receipt_key, proxy })
    }
}

pub(super) fn put_text(out: &mut Vec<u8>, text: &str) -> Result<(), TooLong> {
    out.push(u8::try_from(text.len()).map_err(|_| TooLong)?);
    out.extend_from_slice(text.as_bytes());
    Ok(())
}

/// Reads fields off the front.
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn array<const N: usize>(&mut self) -> Result<&'a [u8; N], Malformed> {
        let (array, rest) = self.0.split_first_chunk().ok_or(Malformed)?;
        self.0 = rest;
        Ok(array)
    }

    pub(super) fn byte(&mut self) -> Result<u8, Malformed> {
        self.array().map(|[byte]| *byte)
    }

    pub(super) fn take(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        let (bytes, rest) = self.0.split_at_checked(length).ok_or(Malformed)?;
        self.0 = rest;
        Ok(bytes)
    }

    /// Text without control characters: it is shown on terminals.
    pub(super) fn text(&mut self) -> Result<String, Malformed> {
        let length = self.byte()?;
        let text = std::str::from_utf8(self.take(length.into())?).map_err(|_| Malformed)?;
        if text.chars().any(char::is_control) { Err(Malformed) } else { Ok(text.to_owned()) }
    }
}
