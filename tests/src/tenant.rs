//! A tenant admin: the vault that `trefoil-admin` keeps, and the files that come out of it.

use crate::programs::program;
use crate::stack::Part;
use crate::{Error, Result};
use serde_json::Value;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The application id of every tenant made here.
pub const APPLICATION: &str = "clinic";

const PASSPHRASE: &str = "throwaway, for a vault that is thrown away";

/// One tenant with its files in one directory.
pub struct Tenant {
    dir: PathBuf,
}

impl Tenant {
    /// Takes over the tenant key from a running proxy.
    pub fn bootstrap(dir: &Path, proxy: &Part) -> Result<Self> {
        let tenant = Self::new(dir)?;
        let (url, pin) = (proxy.admin_url(), proxy.fingerprint());
        tenant.admin_with(
            proxy.password(),
            &["bootstrap", "--url", &url, "--fingerprint", pin, "--password-fd", "0"],
        )?;
        Ok(tenant)
    }

    /// Takes over the tenant key of a proxy that never runs, by files, and makes users.
    pub fn offline(dir: &Path, name: &str, users: &[&str]) -> Result<Self> {
        let tenant = Self::new(dir)?;
        let (jwk, handover) = (tenant.file("admin.jwk"), tenant.file("handover.jwe"));
        tenant.admin(&["handover", "prepare", "--out", &jwk])?;
        let file = dir.join("proxy.toml");
        write_private(
            &file,
            &format!(
                "policy = \"none\"\nstate = {:?}\n[lock]\nkey_file = {:?}\n[upstream]\nhost = \"127.0.0.1\"\ntls = \"disable\"\n[catalog]\nuser = \"none\"\n",
                dir.join("proxy.state"),
                dir.join("proxy.lock"),
            ),
        )?;
        let mut command = Command::new(program("trefoil-proxy")?);
        command.arg("init").arg("--config").arg(&file).args(["--tenant", name, "--application", APPLICATION]);
        output(command.args(["--seal-to", &jwk, "--out", &handover]))?;
        tenant.admin(&["handover", "accept", &handover])?;
        tenant.add(users)?;
        Ok(tenant)
    }

    fn new(dir: &Path) -> Result<Self> {
        drop(fs::remove_dir_all(dir));
        fs::create_dir_all(dir).map_err(|error| Error::at(dir, &error))?;
        Ok(Self { dir: dir.to_owned() })
    }

    /// Sends commands through this sidecar from now on.
    pub fn set_application(&self, sidecar: &Part) -> Result<()> {
        let (url, pin) = (sidecar.admin_url(), sidecar.fingerprint());
        let arguments = ["application", "set", "--url", &url, "--fingerprint", pin, "--password-fd", "0"];
        self.admin_with(sidecar.password(), &arguments).map(drop)
    }

    /// Makes users and exports their shares. The commands are files for [`Tenant::deliver`], and wait for
    /// [`Tenant::push`].
    pub fn add(&self, users: &[&str]) -> Result<()> {
        self.admin(&[&["user", "add"], users].concat())?;
        self.admin(&["outbox", "write", "--dir", &self.commands().display().to_string()])?;
        users.iter().try_for_each(|user| self.export(user, &[]))
    }

    /// Sends all commands that are not confirmed; the proxy has applied them when this returns.
    pub fn push(&self) -> Result<()> {
        self.admin(&["push"]).map(drop)
    }

    /// Writes a user's shares; `options` as `user export` takes them.
    pub fn export(&self, user: &str, options: &[&str]) -> Result<()> {
        let bundle = self.user_bundle(user).display().to_string();
        self.admin(&[&["user", "export", user, "--out", &bundle], options].concat()).map(drop)
    }

    /// Gives the commands of all users to a further sidecar of the application.
    pub fn deliver(&self, sidecar: &Part) -> Result<()> {
        let mut files = files_of(&self.commands())?;
        files.sort();
        let files: Vec<String> = files.iter().map(|file| file.display().to_string()).collect();
        let (url, pin, receipts) = (sidecar.admin_url(), sidecar.fingerprint(), self.file("receipts"));
        let mut arguments = vec!["deliver"];
        arguments.extend(files.iter().map(String::as_str));
        arguments.extend([
            "--url",
            &url,
            "--fingerprint",
            pin,
            "--receipts",
            &receipts,
            "--password-fd",
            "0",
        ]);
        self.admin_with(sidecar.password(), &arguments).map(drop)
    }

    /// Withdraws a user; at the proxy, too, when this returns.
    pub fn withdraw(&self, user: &str) -> Result<()> {
        self.admin(&["user", "withdraw", user, "--push"]).map(drop)
    }

    fn file(&self, name: &str) -> String {
        self.dir.join(name).display().to_string()
    }

    fn commands(&self) -> PathBuf {
        self.dir.join("commands")
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

    /// The application's share of a user in its carrier form, `main:…`, as the command that made the user
    /// brought it.
    pub fn application_share(&self, user: &str) -> Result<String> {
        for file in files_of(&self.commands())? {
            let delivery = read_json(&file)?;
            let Some(shares) = delivery.get("tka").and_then(|tka| tka.get(user)).and_then(Value::as_object)
            else {
                continue;
            };
            let one = |(keyspace, entry): (&String, &Value)| {
                let share = entry.get("share").and_then(Value::as_str);
                share.map(|share| format!("{keyspace}:{share}"))
            };
            return Ok(shares.iter().filter_map(one).collect::<Vec<_>>().join(","));
        }
        Err(Error::new(format!("no application share of {user}")))
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

    /// Runs `trefoil-admin` on the vault; returns what it prints.
    pub fn admin(&self, arguments: &[&str]) -> Result<String> {
        self.admin_with("", arguments)
    }

    /// The same, with a password on standard input.
    pub fn admin_with(&self, password: &str, arguments: &[&str]) -> Result<String> {
        let mut command = Command::new(program("trefoil-admin")?);
        command
            .arg("--vault")
            .arg(self.dir.join("vault"))
            .args(["--work-factor", "8"])
            .args(arguments)
            .env("TREFOIL_PASSPHRASE", PASSPHRASE)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn()?;
        if let Some(mut input) = child.stdin.take() {
            // Who does not want it has closed it.
            drop(writeln!(input, "{password}"));
        }
        read_output(&command, child.wait_with_output()?)
    }
}

/// Writes a file that only its owner can read.
pub fn write_private(path: &Path, text: &str) -> Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    let mut options = fs::OpenOptions::new();
    let file = options.write(true).create(true).truncate(true).mode(0o600).open(path);
    let written = file.and_then(|mut file| file.write_all(text.as_bytes()));
    written.map_err(|error| Error::at(path, &error))
}

fn read_json(path: &Path) -> Result<Value> {
    let text = fs::read_to_string(path).map_err(|error| Error::at(path, &error))?;
    serde_json::from_str(&text).map_err(|error| Error::new(format!("{}: {error}", path.display())))
}

fn files_of(dir: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(dir).map_err(|error| Error::at(dir, &error))?;
    Ok(entries.flatten().map(|entry| entry.path()).collect())
}

/// A text of a JSON object.
pub(crate) fn field(object: &Value, name: &str) -> Result<String> {
    let text = object.get(name).and_then(Value::as_str);
    text.map(str::to_owned).ok_or_else(|| Error::new(format!("no {name} in {object}")))
}

/// What a program prints; it must succeed.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let done = command.output()?;
    read_output(command, done)
}

fn read_output(command: &Command, done: std::process::Output) -> Result<String> {
    if done.status.success() {
        return Ok(String::from_utf8_lossy(&done.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    Err(Error::new(format!("{}: {said}", Path::new(command.get_program()).display())))
}
