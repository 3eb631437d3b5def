//! What is read from a certificate (X.509, RFC 5280) that was verified before, or is one's own.

use sha2::{Digest as _, Sha256, Sha384, Sha512};
use std::time::{Duration, SystemTime};
use x509_parser::prelude::{FromDer as _, X509Certificate};
use x509_parser::signature_algorithm::SignatureAlgorithm;

/// Whom a client's certificate is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// The first common name, by which PostgreSQL, too, knows a client.
    pub common_name: String,
}

impl Subject {
    /// From a certificate in DER; none if it has no common name, or one that is no UTF-8 text or has a NUL in it.
    pub fn read(certificate: &[u8]) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
        let common_name = certificate.subject().iter_common_name().next()?.as_str().ok()?;
        let sound = !common_name.is_empty() && !common_name.contains('\0');
        sound.then(|| Self { common_name: common_name.to_owned() })
    }
}

/// When a certificate in DER ends; none if that is beyond the years that this machine counts.
pub fn expiry(certificate: &[u8]) -> Option<SystemTime> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let seconds = u64::try_from(certificate.validity().not_after.timestamp()).ok()?;
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
}

/// The hash of a certificate in DER that the channel binding `tls-server-end-point` stands for (RFC 5929,
/// section 4.1): by the hash of its signature, or SHA-256 in the place of MD5 and SHA-1. None where the
/// signature has no such hash, as Ed25519.
pub fn end_point(certificate: &[u8]) -> Option<Vec<u8>> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    let algorithm = &parsed.signature_algorithm;
    let hash = match SignatureAlgorithm::try_from(algorithm).ok()? {
        SignatureAlgorithm::RSASSA_PSS(parameters) => parameters.hash_algorithm_oid().to_id_string(),
        _ => algorithm.algorithm.to_id_string(),
    };
    match hash.as_str() {
        // SHA-384: the hash itself, with RSA, with ECDSA.
        "2.16.840.1.101.3.4.2.2" | "1.2.840.113549.1.1.12" | "1.2.840.10045.4.3.3" => {
            Some(Sha384::digest(certificate).to_vec())
        }
        // SHA-512.
        "2.16.840.1.101.3.4.2.3" | "1.2.840.113549.1.1.13" | "1.2.840.10045.4.3.4" => {
            Some(Sha512::digest(certificate).to_vec())
        }
        // SHA-256, SHA-1, MD5.
        "2.16.840.1.101.3.4.2.1"
        | "1.2.840.113549.1.1.11"
        | "1.2.840.10045.4.3.2"
        | "1.3.14.3.2.26"
        | "1.2.840.113549.1.1.5"
        | "1.2.840.10045.4.1"
        | "1.2.840.113549.1.1.4" => Some(Sha256::digest(certificate).to_vec()),
        _ => None,
    }
}
