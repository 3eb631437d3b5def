//! `trefoil-shim envelope --announcement`: the user's agent follows the proxy's keys as the tenant admin
//! announces them, and nobody else, and never back.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "these are tests")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;
use tempfile::TempDir;
use trefoil_keys::announcement::Announcement;
use trefoil_keys::bundle::{self, IssuedShare, UserBundle, Version};
use trefoil_keys::envelope::{EnvelopePrivateKey, UserEnvelope};
use trefoil_keys::secret::Share;
use trefoil_keys::signing::SigningKey;

struct Agent {
    directory: TempDir,
    keys: [EnvelopePrivateKey; 3],
    tenant_admin: SigningKey,
}

impl Agent {
    /// With a bundle of key 0.
    fn new() -> Self {
        let keys = [
            include_str!("../../keys/tests/vectors/key-2048.pem"),
            include_str!("../../keys/tests/vectors/proxy-key.pem"),
            include_str!("../../keys/tests/vectors/key-4096.pem"),
        ]
        .map(|pem| EnvelopePrivateKey::from_pkcs8_pem(pem).unwrap());
        let directory = tempfile::tempdir().unwrap();
        let agent = Self { directory, keys, tenant_admin: SigningKey::generate().unwrap() };
        agent.issue_bundle(0, 0);
        agent
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn issue_bundle(&self, key: usize, announcement_serial: u64) {
        self.write_bundle(key, announcement_serial, true);
    }

    fn write_bundle(&self, key: usize, announcement_serial: u64, with_key: bool) {
        let share = IssuedShare { epoch: 1, share: Share::from_bytes([7; 32]) };
        let bundle = UserBundle {
            version: Version,
            tenant: "clinic".to_owned(),
            user: "alice".to_owned(),
            audience: "clinic-app".to_owned(),
            envelope_key: self.keys[key].public_key().to_jwk(),
            announcement_key: with_key.then(|| self.tenant_admin.verifying_key().clone()),
            announcement_serial,
            shares: [("main".to_owned(), share)].into(),
        };
        bundle::write(&self.path("alice.json"), &bundle).unwrap();
    }

    /// An announcement that `key` is the current one, as it would be sent around.
    fn announcement(&self, serial: u64, key: usize) -> String {
        let (tenant, envelope_keys) = ("clinic".to_owned(), vec![self.keys[key].public_key().clone()]);
        let announcement = Announcement { tenant, serial, iat: 1000, envelope_keys, retires: [].into() };
        self.tenant_admin.sign(&announcement).unwrap()
    }

    /// Which key the envelope is for, or what is said instead.
    fn run(&self, announcement: Option<&str>) -> Result<usize, String> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_trefoil-shim"));
        command.args(["envelope", "--bundle"]).arg(self.path("alice.json"));
        if let Some(jws) = announcement {
            fs::write(self.path("news.jws"), jws).unwrap();
            command.arg("--announcement").arg(self.path("news.jws"));
        }
        let output = command.output().unwrap();
        if !output.status.success() {
            assert!(output.stdout.is_empty());
            return Err(String::from_utf8(output.stderr).unwrap());
        }
        let envelope = String::from_utf8(output.stdout).unwrap();
        let opens = |key: &EnvelopePrivateKey| key.open::<UserEnvelope>(envelope.trim()).is_ok();
        Ok(self.keys.iter().position(opens).unwrap())
    }
}

#[test]
fn the_announced_key_is_used_from_then_on() {
    let agent = Agent::new();
    assert_eq!(agent.run(None), Ok(0));
    assert_eq!(agent.run(Some(&(agent.announcement(1, 1) + "\n"))), Ok(1));
    assert_eq!(agent.run(None), Ok(1));
    assert_eq!(agent.run(Some(&agent.announcement(1, 1))), Ok(1), "the same once more");
    assert_eq!(agent.run(Some(&agent.announcement(3, 2))), Ok(2));
    assert_eq!(agent.run(None), Ok(2));
    let mode = fs::metadata(agent.path("alice.json.announcement")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn an_older_announcement_does_not_bring_an_old_key_back() {
    let agent = Agent::new();
    let old = agent.announcement(1, 1);
    assert_eq!(agent.run(Some(&agent.announcement(2, 2))), Ok(2));
    let error = agent.run(Some(&old)).unwrap_err();
    assert!(error.contains("announcement 2 is known already"), "{error}");
    let error = agent.run(Some(&agent.announcement(2, 1))).unwrap_err();
    assert!(error.contains("announcement 2 is known already"), "{error}");
    assert_eq!(agent.run(None), Ok(2));
}

#[test]
fn a_newer_bundle_counts_more_than_an_older_announcement() {
    let agent = Agent::new();
    let old = agent.announcement(1, 1);
    assert_eq!(agent.run(Some(&old)), Ok(1));
    agent.issue_bundle(2, 2);
    assert_eq!(agent.run(None), Ok(2));
    assert!(agent.run(Some(&old)).unwrap_err().contains("announcement 2 is known already"));
    assert_eq!(agent.run(Some(&agent.announcement(2, 2))), Ok(2));
    assert_eq!(agent.run(Some(&agent.announcement(3, 0))), Ok(0));
}

#[test]
fn nobody_but_the_tenant_admin_announces() {
    let agent = Agent::new();
    let (mallory, right) = (Agent::new(), agent.announcement(1, 1));
    let (head, signature) = right.rsplit_once('.').unwrap();
    let altered = format!("{}.{signature}", agent.announcement(1, 2).rsplit_once('.').unwrap().0);
    for forged in [mallory.announcement(1, 1), altered, head.to_owned(), String::new(), "A".repeat(1 << 20)] {
        let error = agent.run(Some(&forged)).unwrap_err();
        assert!(error.contains("the announcement was rejected"), "{error}");
        assert!(error.contains("news.jws"), "{error}");
        assert_eq!(agent.run(None), Ok(0));
    }
    agent.write_bundle(0, 0, false);
    let error = agent.run(Some(&right)).unwrap_err();
    assert!(error.contains("does not say who announces keys"), "{error}");
}

/// What was taken up is verified each time: who can write the file decides nothing.
#[test]
fn what_was_kept_is_verified_again() {
    let agent = Agent::new();
    assert_eq!(agent.run(Some(&agent.announcement(1, 1))), Ok(1));
    let kept = agent.path("alice.json.announcement");
    fs::write(&kept, Agent::new().announcement(2, 2)).unwrap();
    let error = agent.run(None).unwrap_err();
    assert!(error.contains("alice.json.announcement") && error.contains("rejected"), "{error}");
    fs::remove_file(&kept).unwrap();
    assert_eq!(agent.run(None), Ok(0));
}
