//! An authority, and the files of what it certifies.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use tempfile::TempDir;
use trefoil_keys::tls::{self, Identity};
use trefoil_link::{Clients, ServedTls, Source};

pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    directory: TempDir,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let authority = Self { issuer, directory: tempfile::tempdir().unwrap() };
        fs::write(authority.file(), authority.issuer.pem()).unwrap();
        authority
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Its own certificate.
    pub(crate) fn file(&self) -> PathBuf {
        self.path("ca.pem")
    }

    /// Files of a certificate for `name` and its key.
    pub(crate) fn certify(&self, name: &str, file: &str) -> (PathBuf, PathBuf) {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let [chain, private] = ["crt", "key"].map(|kind| self.path(&format!("{file}.{kind}")));
        fs::write(&chain, params.signed_by(&key, &self.issuer).unwrap().pem()).unwrap();
        fs::write(&private, key.serialize_pem()).unwrap();
        fs::set_permissions(&private, fs::Permissions::from_mode(0o600)).unwrap();
        (chain, private)
    }

    /// What a server for `localhost` offers.
    pub(crate) fn serves(&self, file: &str, clients: Option<Clients>) -> ServedTls {
        let (certificate, key) = self.certify("localhost", file);
        ServedTls::new(Source::Files { certificate, key }, clients, false, &[b"postgresql"]).unwrap()
    }

    pub(crate) fn identity(&self, name: &str) -> Identity {
        let (chain, key) = self.certify(name, name);
        let chain = tls::certificates_from_pem(&fs::read(chain).unwrap()).unwrap();
        (chain, tls::private_key_from_pem(&fs::read(key).unwrap()).unwrap())
    }
}
