//! A certificate authority of a test, and the files of what it has certified.

use crate::tenant::write_private;
use crate::{Error, Result};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use std::fs;
use std::path::{Path, PathBuf};

/// An authority with its files in one directory.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    directory: PathBuf,
}

/// Files of a certificate and its private key (PEM).
pub struct Certified {
    /// The certificate.
    pub certificate: PathBuf,
    /// The key.
    pub key: PathBuf,
}

fn failed(error: rcgen::Error) -> Error {
    Error::new(format!("certificate: {error}"))
}

impl Authority {
    /// A new one; its certificate is in `ca.pem`.
    pub fn new(directory: &Path) -> Result<Self> {
        fs::create_dir_all(directory).map_err(|error| Error::at(directory, &error))?;
        let mut params = CertificateParams::new(Vec::new()).map_err(failed)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().map_err(failed)?;
        let issuer = CertifiedIssuer::self_signed(params, key).map_err(failed)?;
        fs::write(directory.join("ca.pem"), issuer.pem())?;
        Ok(Self { issuer, directory: directory.to_owned() })
    }

    /// Its certificate.
    pub fn file(&self) -> PathBuf {
        self.directory.join("ca.pem")
    }

    /// Certifies a new key for these names, of which the first is the common name, too.
    pub fn certify(&self, names: &[&str]) -> Result<Certified> {
        let owned = names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let common_name = names.first().copied().unwrap_or_default();
        let mut params = CertificateParams::new(owned).map_err(failed)?;
        params.distinguished_name.push(DnType::CommonName, common_name);
        let key = KeyPair::generate().map_err(failed)?;
        let signed = params.signed_by(&key, &self.issuer).map_err(failed)?;
        let file = |kind: &str| self.directory.join(format!("{common_name}.{kind}"));
        let certified = Certified { certificate: file("crt"), key: file("key") };
        fs::write(&certified.certificate, signed.pem())?;
        write_private(&certified.key, &key.serialize_pem())?;
        Ok(certified)
    }
}
