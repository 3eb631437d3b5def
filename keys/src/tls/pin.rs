//! Pinning: a server is who it is by the SHA-256 of its certificate, told beside the network.

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, Error, OtherError, PeerIncompatible, SignatureScheme};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use subtle::ConstantTimeEq;

/// `SHA-256(certificate in DER)`. As text 64 lower-case hexadecimal digits; read with upper-case ones and
/// with a colon between each two as well.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint([u8; 32]);

/// A text is not a fingerprint.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a fingerprint: it is the certificate's SHA-256, 64 hexadecimal digits, with or without colons")]
pub struct MalformedFingerprint;

impl Fingerprint {
    /// The fingerprint of a certificate in DER.
    pub fn of(certificate: &[u8]) -> Self {
        Self(Sha256::digest(certificate).into())
    }

    /// The fingerprint of these bytes.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({self})")
    }
}

impl FromStr for Fingerprint {
    type Err = MalformedFingerprint;

    fn from_str(text: &str) -> Result<Self, MalformedFingerprint> {
        let mut fingerprint = Self([0; 32]);
        let mut rest = text;
        for (position, byte) in fingerprint.0.iter_mut().enumerate() {
            if position > 0 && text.contains(':') {
                rest = rest.strip_prefix(':').ok_or(MalformedFingerprint)?;
            }
            let (digits, after) = rest.split_at_checked(2).ok_or(MalformedFingerprint)?;
            // Alone, from_str_radix takes a sign as well.
            if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
                return Err(MalformedFingerprint);
            }
            *byte = u8::from_str_radix(digits, 16).map_err(|_| MalformedFingerprint)?;
            rest = after;
        }
        if rest.is_empty() { Ok(fingerprint) } else { Err(MalformedFingerprint) }
    }
}

impl Serialize for Fingerprint {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Fingerprint {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// A server has shown another certificate than the pinned one. Nothing but the handshake's beginning was
/// sent to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("another certificate: its SHA-256 is {found}, expected {expected}")]
pub struct OtherCertificate {
    /// Of the certificate that was shown.
    pub found: Fingerprint,
    /// The pinned one.
    pub expected: Fingerprint,
}

impl OtherCertificate {
    /// What a failed handshake fails for, if it is this.
    pub fn in_error(error: &Error) -> Option<Self> {
        match error {
            Error::InvalidCertificate(CertificateError::Other(OtherError(error))) => {
                error.downcast_ref().copied()
            }
            _ => None,
        }
    }
}

/// Accepts one certificate. Its names, dates and issuer are not looked at: the fingerprint was told for
/// this very server, so they could only refuse the right one (moved to another address, or older than
/// somebody thought when it was made) and never unmask a wrong one.
#[derive(Debug)]
pub(super) struct Verifier {
    pin: Fingerprint,
    provider: Arc<CryptoProvider>,
}

impl Verifier {
    pub(super) fn new(pin: Fingerprint, provider: Arc<CryptoProvider>) -> Self {
        Self { pin, provider }
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let (found, expected) = (Fingerprint::of(end_entity), self.pin);
        if found.0.ct_eq(&expected.0).into() {
            Ok(ServerCertVerified::assertion())
        } else {
            let other = OtherError(Arc::new(OtherCertificate { found, expected }));
            Err(CertificateError::Other(other).into())
        }
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(PeerIncompatible::Tls12NotOffered.into())
    }

    /// That the server has the certificate's key, and not only the certificate, which is public.
    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
