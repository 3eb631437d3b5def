//! Certificates that a program makes for itself: ECDSA over P-256 (RFC 5480), X.509 (RFC 5280). Without an
//! end worth mentioning, since they are known by their fingerprint and by nothing in them.

use super::{Fingerprint, Identity, TlsError};
use rcgen::{CertificateParams, DnType, KeyPair, PKCS_ECDSA_P256_SHA256};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use zeroize::{Zeroize, Zeroizing};

/// A certificate that nobody else signed, and its key.
pub struct SelfSigned {
    /// The certificate in DER.
    pub certificate: CertificateDer<'static>,
    /// The private key as PKCS#8 in DER.
    pub private_key: Zeroizing<Vec<u8>>,
}

impl SelfSigned {
    /// A new key and a certificate for these names (DNS names or IP addresses).
    ///
    /// # Errors
    /// [`TlsError::Names`], [`TlsError::Generate`].
    pub fn generate(names: &[String]) -> Result<Self, TlsError> {
        let params = params(names)?;
        let key = WipedKey(KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(TlsError::Generate)?);
        let certificate = params.self_signed(&key.0).map_err(TlsError::Generate)?;
        let private_key = Zeroizing::new(key.0.serialized_der().to_vec());
        Ok(Self { certificate: certificate.der().clone(), private_key })
    }

    /// By which others know the certificate.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.certificate)
    }

    /// For [`super::server_config`]. The copy of the key lasts as long as the configuration.
    pub fn identity(&self) -> Identity {
        let key = PrivatePkcs8KeyDer::from(self.private_key.to_vec());
        (vec![self.certificate.clone()], PrivateKeyDer::Pkcs8(key))
    }
}

/// A request (PKCS#10, RFC 2986, in PEM) that an authority may certify this key for these names;
/// `private_key` is [`SelfSigned::private_key`].
///
/// # Errors
/// [`TlsError::Names`], [`TlsError::PrivateKey`] if the key is not one over P-256, [`TlsError::Generate`].
pub fn certificate_request(names: &[String], private_key: &[u8]) -> Result<String, TlsError> {
    let params = params(names)?;
    let key = KeyPair::from_pkcs8_der_and_sign_algo(&private_key.into(), &PKCS_ECDSA_P256_SHA256);
    let key = WipedKey(key.map_err(|_| TlsError::PrivateKey)?);
    params.serialize_request(&key.0).and_then(|request| request.pem()).map_err(TlsError::Generate)
}

fn params(names: &[String]) -> Result<CertificateParams, TlsError> {
    let mut params = CertificateParams::new(names).map_err(TlsError::Names)?;
    params.distinguished_name.push(DnType::CommonName, names.first().map_or("trefoil", String::as_str));
    Ok(params)
}

struct WipedKey(KeyPair);

impl Drop for WipedKey {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}
