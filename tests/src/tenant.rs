//! A tenant made by `trefoil-admin`: its vault, and the files that go to users, application and proxy.

use crate::programs::program;
use crate::{Error, Result};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The application id of every tenant made here.
pub const APPLICATION: &str = "clinic";

const PASSPHRASE: &str = "throwaway, for a vault that is thrown away";

/// One tenant with its files in one directory.
pub struct Tenant {
    dir: PathBuf,
}

impl Tenant {
    /// Makes a tenant with these users, and all bundles.
    pub fn create(dir: &Path, name: &str, users: &[&str]) -> Result<Self> {
        fs::create_dir_all(dir).map_err(|error| Error::at(dir, &error))?;
        let tenant = Self { dir: dir.to_owned() };
        drop(fs::remove_file(tenant.vault()));
        tenant.admin(&["tenant", "create", name, "--application", APPLICATION])?;
        for user in users {
            tenant.admin(&["user", "add", user])?;
            tenant.admin(&[
                "bundle",
                "user",
                user,
                "--out",
                &tenant.user_bundle(user).display().to_string(),
            ])?;
        }
        let application = tenant.application_bundle().display().to_string();
        tenant.admin(&["bundle", "application", "--out", &application])?;
        tenant.write_proxy_bundle()?;
        Ok(tenant)
    }

    /// Withdraws a user, and writes the proxy's bundle anew.
    pub fn withdraw(&self, user: &str) -> Result<()> {
        self.admin(&["user", "withdraw", user])?;
        self.write_proxy_bundle()
    }

    fn write_proxy_bundle(&self) -> Result<()> {
        self.admin(&["bundle", "proxy", "--out", &self.proxy_bundle().display().to_string()])
    }

    fn vault(&self) -> PathBuf {
        self.dir.join("vault.age")
    }

    /// What goes to the application.
    pub fn application_bundle(&self) -> PathBuf {
        self.dir.join("application.bundle.json")
    }

    /// What goes to the proxy.
    pub fn proxy_bundle(&self) -> PathBuf {
        self.dir.join("proxy.bundle.json")
    }

    /// What goes to a user.
    pub fn user_bundle(&self, user: &str) -> PathBuf {
        self.dir.join(format!("{user}.user.bundle.json"))
    }

    /// An envelope of a user, as its agent would make it; `options` as `trefoil-shim envelope` takes them.
    pub fn envelope(&self, user: &str, options: &[&str]) -> Result<String> {
        self.envelope_from(&self.user_bundle(user), options)
    }

    /// An envelope made from a given user bundle.
    pub fn envelope_from(&self, bundle: &Path, options: &[&str]) -> Result<String> {
        let mut command = Command::new(program("trefoil-shim")?);
        command.args(["envelope", "--bundle"]).arg(bundle).args(options);
        Ok(output(&mut command)?.trim().to_owned())
    }

    /// The application's share of a user in its carrier form, `main:…`.
    pub fn application_share(&self, user: &str) -> Result<String> {
        let bundle = read_json(&self.application_bundle())?;
        let shares = bundle.get("users").and_then(|users| users.get(user)).and_then(Value::as_object);
        let shares = shares.ok_or_else(|| Error::new(format!("no application share of {user}")))?;
        let one = |(keyspace, entry): (&String, &Value)| {
            let share = entry.get("share").and_then(Value::as_str);
            share.map(|share| format!("{keyspace}:{share}"))
        };
        Ok(shares.iter().filter_map(one).collect::<Vec<_>>().join(","))
    }

    /// Writes a user's bundle changed: the shares of this tenant, the envelope key of another one.
    pub fn user_bundle_for(&self, user: &str, other: &Tenant) -> Result<PathBuf> {
        let mut bundle = read_json(&self.user_bundle(user))?;
        let others = read_json(&other.user_bundle(user))?;
        if let (Some(bundle), Some(key)) = (bundle.as_object_mut(), others.get("envelope_key")) {
            bundle.insert("envelope_key".to_owned(), key.clone());
        }
        let path = self.dir.join(format!("{user}.crossed.user.bundle.json"));
        drop(fs::remove_file(&path));
        write_private(&path, &bundle.to_string())?;
        Ok(path)
    }

    fn admin(&self, arguments: &[&str]) -> Result<()> {
        let mut command = Command::new(program("trefoil-admin")?);
        let factor = ["--work-factor", "8"];
        command
            .arg("--vault")
            .arg(self.vault())
            .args(factor)
            .args(arguments)
            .env("TREFOIL_PASSPHRASE", PASSPHRASE);
        output(&mut command).map(drop)
    }
}

/// Writes a file that only its owner can read.
pub fn write_private(path: &Path, text: &str) -> Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    let mut options = fs::OpenOptions::new();
    let file = options.write(true).create(true).truncate(true).mode(0o600).open(path);
    let written = file.and_then(|mut file| std::io::Write::write_all(&mut file, text.as_bytes()));
    written.map_err(|error| Error::at(path, &error))
}

fn read_json(path: &Path) -> Result<Value> {
    let text = fs::read_to_string(path).map_err(|error| Error::at(path, &error))?;
    serde_json::from_str(&text).map_err(|error| Error::new(format!("{}: {error}", path.display())))
}

fn output(command: &mut Command) -> Result<String> {
    let done = command.output()?;
    if done.status.success() {
        return Ok(String::from_utf8_lossy(&done.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    Err(Error::new(format!("{}: {said}", Path::new(command.get_program()).display())))
}
