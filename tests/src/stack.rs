//! The parts of Trefoil around one PostgreSQL: a proxy, sidecars in front of it, and the tenant whose
//! users they serve; made as an operator and a tenant admin make them.

use crate::cluster::free_port;
use crate::endpoint::Endpoint;
use crate::leash::Leash;
use crate::programs::program;
use crate::tenant::{APPLICATION, Tenant, field, output, write_private};
use crate::{Error, Result};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const READY: Duration = Duration::from_secs(30);

/// A proxy or a sidecar, with its files in a directory of its own.
pub struct Part {
    setup: Setup,
    leash: Leash,
}

/// What a part is made of, and starts from again.
struct Setup {
    name: String,
    directory: PathBuf,
    command: Vec<String>,
    port: u16,
    admin: u16,
    fingerprint: String,
    password: String,
}

impl Setup {
    /// Runs `init` by a configuration file, and takes from it what it prints.
    fn init(
        name: &str,
        directory: &Path,
        program: &str,
        configuration: &Path,
        ports: [u16; 2],
        flags: &[&str],
    ) -> Result<Self> {
        let program_path = crate::programs::program(program)?;
        let printed = output(
            Command::new(&program_path)
                .arg("init")
                .arg("--config")
                .arg(configuration)
                .arg("--json")
                .args(flags),
        )?;
        let printed: Value =
            serde_json::from_str(&printed).map_err(|error| Error::new(format!("{program} init: {error}")))?;
        let mut command = vec![program_path.display().to_string()];
        if program == "trefoil-shim" {
            command.push("sidecar".to_owned());
        }
        command.extend(["--config".to_owned(), configuration.display().to_string()]);
        let [port, admin] = ports;
        Ok(Self {
            name: name.to_owned(),
            directory: directory.to_owned(),
            command,
            port,
            admin,
            fingerprint: field(&printed, "fingerprint")?,
            password: field(&printed, "password")?,
        })
    }

    fn start(&self, environment: &[(&str, &str)]) -> Result<Leash> {
        let log = self.directory.join(format!("{}.log", self.name));
        let variables = environment.iter().map(|(name, value)| format!("{name}={value}"));
        let command: Vec<String> =
            ["env".to_owned()].into_iter().chain(variables).chain(self.command.iter().cloned()).collect();
        let mut leash = Leash::start(&self.name, &command, "TERM", &log, None)?;
        leash.wait_for(&format!("listening on 127.0.0.1:{}", self.port), READY)?;
        leash.wait_for(&format!("admin port at 127.0.0.1:{}", self.admin), READY)?;
        Ok(leash)
    }
}

impl Part {
    /// The port on which it listens for PostgreSQL's protocol.
    pub fn port(&self) -> u16 {
        self.setup.port
    }

    /// Where its admin port is.
    pub fn admin_url(&self) -> String {
        format!("https://127.0.0.1:{}", self.setup.admin)
    }

    /// By what its admin port is known.
    pub fn fingerprint(&self) -> &str {
        &self.setup.fingerprint
    }

    /// What `init` printed: for the bootstrap once, or for the tenant admin's login.
    pub fn password(&self) -> &str {
        &self.setup.password
    }

    /// Its process.
    pub fn process(&self) -> &Leash {
        &self.leash
    }

    /// The same, to ask whether it runs.
    pub fn process_mut(&mut self) -> &mut Leash {
        &mut self.leash
    }

    /// Stops it if it still runs, and starts it again with these variables in its environment.
    pub fn restart(&mut self, environment: &[(&str, &str)]) -> Result<()> {
        self.leash.stop();
        self.leash = self.setup.start(environment)?;
        Ok(())
    }
}

impl Part {
    /// A further one from a copy of this one's store, which is stopped for that, as an operator makes it:
    /// with its files in `dir`, on ports of its own, and these texts of its configuration replaced.
    pub fn copy(&mut self, dir: &Path, changes: &[(String, String)]) -> Result<Self> {
        fs::create_dir_all(dir).map_err(|error| Error::at(dir, &error))?;
        let Setup { name, directory, command, port, admin, fingerprint, password } = &self.setup;
        self.leash.stop();
        let [own, other] = [directory, dir].map(|dir| dir.join(name));
        for file in ["state", "lock"] {
            output(Command::new("cp").arg("-a").arg(own.with_extension(file)).arg(dir))?;
        }
        let ports = [free_port()?, free_port()?];
        let quoted = |port: u16| format!("\"127.0.0.1:{port}\"");
        let [own_path, other_path] = [&own, &other].map(|path| format!("{}.", path.display()));
        let mut all = vec![
            (quoted(*port), quoted(ports[0])),
            (quoted(*admin), quoted(ports[1])),
            (own_path.clone(), other_path.clone()),
        ];
        all.extend_from_slice(changes);
        let text = replaced(&own.with_extension("toml"), &all)?;
        write_private(&other.with_extension("toml"), &text)?;
        let setup = Setup {
            name: name.clone(),
            directory: dir.to_owned(),
            command: command.iter().map(|word| word.replace(&own_path, &other_path)).collect(),
            port: ports[0],
            admin: ports[1],
            fingerprint: fingerprint.clone(),
            password: password.clone(),
        };
        self.restart(&[])?;
        let leash = setup.start(&[])?;
        Ok(Self { setup, leash })
    }

    /// Puts a copy of the other one's store in the place of its own; both are stopped for that.
    pub fn take_store_of(&mut self, other: &mut Self) -> Result<()> {
        self.leash.stop();
        other.leash.stop();
        let [own, others] = [&self.setup, &other.setup].map(|setup| setup.directory.join(&setup.name));
        let own = own.with_extension("state");
        fs::remove_dir_all(&own).map_err(|error| Error::at(&own, &error))?;
        output(Command::new("cp").arg("-a").arg(others.with_extension("state")).arg(&own))?;
        other.restart(&[])?;
        self.restart(&[])
    }

    /// Replaces these texts of its configuration, and starts it again.
    pub fn configure(&mut self, changes: &[(String, String)]) -> Result<()> {
        let file = self.setup.directory.join(&self.setup.name).with_extension("toml");
        write_private(&file, &replaced(&file, changes)?)?;
        self.restart(&[])
    }
}

fn replaced(file: &Path, changes: &[(String, String)]) -> Result<String> {
    let text = fs::read_to_string(file).map_err(|error| Error::at(file, &error))?;
    Ok(changes.iter().fold(text, |text, (from, to)| text.replace(from, to)))
}

/// What a proxy is started with.
pub struct ProxyOptions<'a> {
    /// The policy's text.
    pub policy: &'a str,
    /// The tenant's name.
    pub tenant: &'a str,
    /// The role with which it reads the catalog, and where PostgreSQL is.
    pub database: &'a Endpoint,
    /// The port of a recorder, where one stands between.
    pub recorder: Option<u16>,
    /// Further lines of its configuration, before the first section.
    pub configuration: &'a str,
}

/// A part that was made and has not been started.
pub struct Ordered {
    setup: Setup,
    configuration: PathBuf,
}

impl Ordered {
    /// Makes a proxy with its files in `dir`.
    pub fn proxy(dir: &Path, options: &ProxyOptions<'_>) -> Result<Self> {
        Self::proxy_with_keyspaces(dir, options, &["main"])
    }

    /// The same with these keyspaces.
    pub fn proxy_with_keyspaces(dir: &Path, options: &ProxyOptions<'_>, keyspaces: &[&str]) -> Result<Self> {
        let (configuration, ports) = configure_proxy(dir, options)?;
        let mut flags =
            vec!["--tenant", options.tenant, "--application", APPLICATION, "--anew", "--forget-everything"];
        flags.extend(keyspaces.iter().flat_map(|keyspace| ["--keyspace", keyspace]));
        let setup = Setup::init("proxy", dir, "trefoil-proxy", &configuration, ports, &flags)?;
        Ok(Self { setup, configuration })
    }

    /// Makes a sidecar with its files in `dir`; acting for the user of a bundle, or for whoever the
    /// application names. It knows the commands that the proxy has yet to get, and has no shares.
    pub fn sidecar(dir: &Path, proxy: &Part, act_for: Option<(&str, &Path)>) -> Result<Self> {
        let name = format!("sidecar-{}", act_for.map_or("application", |(user, _)| user));
        let (configuration, ports) =
            configure_sidecar(dir, &name, proxy, act_for.map(|(_, bundle)| bundle), "")?;
        let setup = Setup::init(&name, dir, "trefoil-shim", &configuration, ports, &["--anew"])?;
        Ok(Self { setup, configuration })
    }

    /// Makes a sidecar that learns from the application whom a statement is for, as these sections of its
    /// configuration say.
    pub fn application(dir: &Path, proxy: &Part, sections: &str) -> Result<Self> {
        let name = "sidecar-application";
        let (configuration, ports) = configure_sidecar(dir, name, proxy, None, sections)?;
        let setup = Setup::init(name, dir, "trefoil-shim", &configuration, ports, &["--anew"])?;
        Ok(Self { setup, configuration })
    }

    /// Whether it would start; if not, the error is its own.
    pub fn check(&self) -> Result<()> {
        let mut command = Command::new(program("trefoil-proxy")?);
        output(command.arg("--check").arg("--config").arg(&self.configuration)).map(drop)
    }

    /// Starts it.
    pub fn start(self) -> Result<Part> {
        let leash = self.setup.start(&[])?;
        Ok(Part { setup: self.setup, leash })
    }
}

fn configure_proxy(dir: &Path, options: &ProxyOptions<'_>) -> Result<(PathBuf, [u16; 2])> {
    fs::create_dir_all(dir).map_err(|error| Error::at(dir, &error))?;
    let policy = dir.join("policy.toml");
    write_private(&policy, options.policy)?;
    let [port, admin] = [free_port()?, free_port()?];
    let configuration = format!(
        "listen = \"127.0.0.1:{port}\"\npolicy = {policy:?}\nstate = {state:?}\n{more}\n\
         [lock]\nkey_file = {lock:?}\n\n[admin]\nlisten = \"127.0.0.1:{admin}\"\n\n\
         [upstream]\nhost = \"127.0.0.1\"\nport = {upstream}\ntls = \"disable\"\n\n[catalog]\nuser = {user:?}\npassword = {password:?}\n",
        state = dir.join("proxy.state"),
        lock = dir.join("proxy.lock"),
        more = options.configuration,
        upstream = options.recorder.unwrap_or(options.database.port),
        user = options.database.user,
        password = options.database.password,
    );
    let file = dir.join("proxy.toml");
    write_private(&file, &configuration)?;
    Ok((file, [port, admin]))
}

fn configure_sidecar(
    dir: &Path,
    name: &str,
    proxy: &Part,
    act_for: Option<&Path>,
    sections: &str,
) -> Result<(PathBuf, [u16; 2])> {
    fs::create_dir_all(dir).map_err(|error| Error::at(dir, &error))?;
    let acting = act_for.map(|bundle| format!("act_for = {bundle:?}\n")).unwrap_or_default();
    let [port, admin] = [free_port()?, free_port()?];
    let configuration = format!(
        "listen = \"127.0.0.1:{port}\"\nproxy = \"127.0.0.1:{}\"\nstate = {:?}\n{acting}\n\
         [lock]\nkey_file = {:?}\n\n[admin]\nlisten = \"127.0.0.1:{admin}\"\n\n\
         [proxy_admin]\nurl = {:?}\nfingerprint = {:?}\n\n{sections}",
        proxy.port(),
        dir.join(format!("{name}.state")),
        dir.join(format!("{name}.lock")),
        proxy.admin_url(),
        proxy.fingerprint(),
    );
    let file = dir.join(format!("{name}.toml"));
    write_private(&file, &configuration)?;
    Ok((file, [port, admin]))
}

/// Everything around one PostgreSQL.
pub struct Stack {
    // Dropped in this order: whoever uses a part goes first.
    /// Sidecars that act for one user each, in the order in which they were asked for.
    pub acting: Vec<Part>,
    /// The sidecar that acts for whom the application names; commands go through it.
    pub application: Part,
    /// The proxy.
    pub proxy: Part,
    /// Who manages its users.
    pub tenant: Tenant,
}

impl Stack {
    /// Starts all parts with their files in `dir`; the first `acting` of the users get a sidecar that acts
    /// for them.
    pub fn start(dir: &Path, options: &ProxyOptions<'_>, users: &[&str], acting: usize) -> Result<Self> {
        Self::around(dir, Ordered::proxy(dir, options)?.start()?, users, acting)
    }

    /// The same around a proxy that runs and waits for its bootstrap.
    pub fn around(dir: &Path, proxy: Part, users: &[&str], acting: usize) -> Result<Self> {
        let tenant = Tenant::bootstrap(&dir.join("tenant"), &proxy)?;
        let bundles = users.iter().take(acting).map(|user| (*user, tenant.user_bundle(user)));
        let ordered = bundles.map(|(user, bundle)| Ordered::sidecar(dir, &proxy, Some((user, &bundle))));
        let ordered = ordered.collect::<Result<Vec<_>>>()?;
        let application = Ordered::sidecar(dir, &proxy, None)?.start()?;
        tenant.set_application(&application)?;
        tenant.add(users)?;
        tenant.push()?;
        let mut parts = Vec::new();
        for sidecar in ordered {
            let sidecar = sidecar.start()?;
            tenant.deliver(&sidecar)?;
            parts.push(sidecar);
        }
        Ok(Self { acting: parts, application, proxy, tenant })
    }
}
