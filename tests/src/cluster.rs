//! A throwaway PostgreSQL: initialised, started, and removed with the value that owns it. It logs
//! everything that reaches it, parameters included: the log is evidence.

use crate::authority::Certified;
use crate::endpoint::Endpoint;
use crate::leash::Leash;
use crate::tenant::write_private;
use crate::{Error, Result};
use std::collections::BTreeSet;
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

/// The database role that owns everything in a cluster.
pub const ROLE: &str = "clinic_owner";

const SETTINGS: &[(&str, &str)] = &[
    ("listen_addresses", "127.0.0.1"),
    ("max_connections", "200"),
    // Nothing here has to survive a power cut.
    ("fsync", "off"),
    ("synchronous_commit", "off"),
    ("logging_collector", "off"),
    ("log_destination", "stderr"),
    ("log_line_prefix", "%m [%p] %d "),
    ("log_statement", "all"),
    ("log_parameter_max_length", "-1"),
    ("log_parameter_max_length_on_error", "-1"),
    ("log_min_messages", "info"),
    ("log_min_error_statement", "info"),
    ("log_error_verbosity", "verbose"),
    ("log_checkpoints", "off"),
    ("timezone", "UTC"),
    ("log_timezone", "UTC"),
];

/// A running PostgreSQL server.
pub struct Cluster {
    server: Leash,
    endpoint: Endpoint,
    dir: PathBuf,
}

impl Cluster {
    /// A cluster in a scratch directory of its own, removed when the server has ended.
    pub fn scratch() -> Result<Self> {
        Self::scratch_with(&[])
    }

    /// The same with these settings besides.
    pub fn scratch_with(settings: &[(&str, &str)]) -> Result<Self> {
        let scratch = tempfile::Builder::new().prefix("trefoil-").tempdir()?;
        let cluster = Self::start(scratch.path(), Some(scratch.path()), settings)?;
        // From here on the server's leash removes it.
        drop(scratch.keep());
        Ok(cluster)
    }

    /// A cluster in `parent/postgres`, whose earlier contents are removed. Where the server's user
    /// cannot get there (postgres refuses to run as root), a scratch directory is used instead.
    pub fn within(parent: &Path) -> Result<Self> {
        if superuser()? && !reachable(parent)? {
            return Self::scratch();
        }
        let dir = parent.join("postgres");
        if dir.join("data/PG_VERSION").exists() {
            fs::remove_dir_all(&dir).map_err(|error| Error::at(&dir, &error))?;
        }
        fs::create_dir_all(&dir).map_err(|error| Error::at(&dir, &error))?;
        Self::start(&dir, None, &[])
    }

    fn start(dir: &Path, scratch: Option<&Path>, more: &[(&str, &str)]) -> Result<Self> {
        let bin = binaries()?;
        let as_user = become_server_user(dir)?;
        let command = |program: &str, arguments: &[&str]| -> Vec<String> {
            let program = bin.join(program).display().to_string();
            let arguments = arguments.iter().map(|argument| (*argument).to_owned());
            as_user.iter().cloned().chain([program]).chain(arguments).collect()
        };
        let data = dir.join("data").display().to_string();
        let password = random_password()?;
        let password_file = dir.join("password");
        fs::write(&password_file, &password).map_err(|error| Error::at(&password_file, &error))?;
        let password_argument = format!("--pwfile={}", password_file.display());
        let arguments = ["-D", &data, "-U", ROLE, "-A", "scram-sha-256", &password_argument];
        let tail = ["-E", "UTF8", "--locale=C", "--no-sync"];
        let initdb = command("initdb", &[&arguments[..], &tail[..]].concat());
        let made = initdb.split_first().map(|(first, rest)| Command::new(first).args(rest).output());
        match made {
            Some(Ok(output)) if output.status.success() => {}
            Some(Ok(output)) => {
                return Err(Error::new(format!("initdb: {}", String::from_utf8_lossy(&output.stderr))));
            }
            _ => return Err(Error::new(format!("{}/initdb does not run", bin.display()))),
        }
        fs::remove_file(&password_file)?;

        let port = free_port()?;
        let mut settings: Vec<String> =
            SETTINGS.iter().chain(more).map(|(name, value)| format!("{name}={value}")).collect();
        settings.push(format!("port={port}"));
        // A socket's path is limited to 107 bytes.
        let sockets = if dir.as_os_str().len() < 80 { dir.display().to_string() } else { String::new() };
        settings.push(format!("unix_socket_directories={sockets}"));
        let mut arguments = vec!["-D", &data];
        for setting in &settings {
            arguments.extend(["-c", setting]);
        }
        let log = dir.join("postgresql.log");
        let mut server = Leash::start("postgres", &command("postgres", &arguments), "INT", &log, scratch)?;
        server.wait_for("database system is ready to accept connections", Duration::from_secs(60))?;
        let endpoint = Endpoint {
            host: "127.0.0.1".to_owned(),
            port,
            user: ROLE.to_owned(),
            password,
            database: "postgres".to_owned(),
        };
        Ok(Self { server, endpoint, dir: dir.to_owned() })
    }

    /// Straight to the server's database `postgres`.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Makes an empty database and says how to get there, straight.
    pub fn create_database(&self, name: &str) -> Result<Endpoint> {
        self.endpoint.run(&format!("CREATE DATABASE {name}"))?;
        Ok(self.endpoint.database(name))
    }

    /// Lets everybody on this machine in by the name alone, so that logins cost all alike nothing.
    pub fn trust(&self) -> Result<()> {
        let file = self.data().join("pg_hba.conf");
        fs::write(&file, "host all all 127.0.0.1/32 trust\n").map_err(|error| Error::at(&file, &error))?;
        self.endpoint.run("SELECT pg_reload_conf()").map(drop)
    }

    /// The server's process, to ask whether it runs.
    pub fn process_mut(&mut self) -> &mut Leash {
        &mut self.server
    }

    /// Everything that the server has logged.
    pub fn log(&self) -> String {
        self.server.output()
    }

    /// The log's file.
    pub fn log_file(&self) -> &Path {
        self.server.log()
    }

    /// The directory that holds data and log; files put beside them go with them.
    pub fn directory(&self) -> &Path {
        &self.dir
    }

    /// The data directory.
    pub fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    /// Offers TLS, with this certificate, to connections that begin from now on. Clients may show certificates
    /// of this authority.
    ///
    /// # Errors
    /// Files that cannot be written, or a server that does not come round to it.
    pub fn offer_tls(&self, served: &Certified, authority: &Path) -> Result<()> {
        let data = self.data();
        let owner = fs::metadata(&data)?;
        for (from, name) in [
            (served.certificate.as_path(), "server.crt"),
            (&served.key, "server.key"),
            (authority, "root.crt"),
        ] {
            let to = data.join(name);
            write_private(&to, &fs::read_to_string(from)?)?;
            chown(&to, Some(owner.uid()), Some(owner.gid()))?;
        }
        for text in [
            "ALTER SYSTEM SET ssl_cert_file = 'server.crt'",
            "ALTER SYSTEM SET ssl_key_file = 'server.key'",
            "ALTER SYSTEM SET ssl_ca_file = 'root.crt'",
            "ALTER SYSTEM SET ssl = on",
            "SELECT pg_reload_conf()",
        ] {
            self.endpoint.run(text)?;
        }
        for _ in 0..100 {
            if self.endpoint.run("SHOW ssl")?.concat() == [Some("on".to_owned())] {
                return Ok(());
            }
            thread::sleep(Duration::from_millis(50));
        }
        Err(Error::new("the server does not offer TLS"))
    }

    /// Writes everything that is in memory to the data files.
    pub fn checkpoint(&self) -> Result<()> {
        self.endpoint.run("CHECKPOINT").map(drop)
    }
}

/// A TCP port of the loopback interface that nobody uses, and that this process did not give before:
/// who got it may not listen yet, or be stopped to be started again.
pub fn free_port() -> Result<u16> {
    static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    let mut given = GIVEN.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        if given.insert(port) {
            return Ok(port);
        }
    }
}

/// Whether this process runs as root.
pub fn superuser() -> Result<bool> {
    Ok(fs::metadata("/proc/self")?.uid() == 0)
}

/// Whether any user may pass through `path`.
fn reachable(path: &Path) -> Result<bool> {
    let path = path.canonicalize().map_err(|error| Error::at(path, &error))?;
    let open = |step: &Path| fs::metadata(step).is_ok_and(|step| step.permissions().mode() & 0o001 != 0);
    Ok(path.ancestors().all(open))
}

/// Where PostgreSQL's programs are: `PG_BIN`, else the newest that Debian installed, else the PATH.
pub(crate) fn binaries() -> Result<PathBuf> {
    if let Some(bin) = std::env::var_os("PG_BIN").filter(|bin| !bin.is_empty()).map(PathBuf::from) {
        if bin.join("initdb").exists() {
            return Ok(bin);
        }
        return Err(Error::new(format!("PG_BIN: there is no initdb in {}", bin.display())));
    }
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let newest = versions
        .filter_map(|entry| {
            Some((entry.file_name().to_str()?.parse::<u32>().ok()?, entry.path().join("bin")))
        })
        .filter(|(_, bin)| bin.join("initdb").exists())
        .max();
    if let Some((_, bin)) = newest {
        return Ok(bin);
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .find(|bin| bin.join("initdb").exists())
        .ok_or_else(|| Error::new("no PostgreSQL programs: run deploy/packages.sh, or set PG_BIN"))
}

/// As root, gives `dir` to an ordinary user; returns the command prefix that runs a program as it.
pub(crate) fn become_server_user(dir: &Path) -> Result<Vec<String>> {
    if !superuser()? {
        return Ok(Vec::new());
    }
    let users = fs::read_to_string("/etc/passwd")?;
    let ids = |name: &str| {
        let line = users.lines().find(|line| line.split(':').next() == Some(name))?;
        let mut fields = line.split(':').skip(2).map(|id| id.parse::<u32>().ok());
        Some((fields.next()??, fields.next()??))
    };
    let (user, group) = ids("postgres")
        .or_else(|| ids("nobody"))
        .ok_or_else(|| Error::new("neither user postgres nor nobody to run PostgreSQL as"))?;
    chown(dir, Some(user), Some(group)).map_err(|error| Error::at(dir, &error))?;
    let prefix = ["setpriv", &format!("--reuid={user}"), &format!("--regid={group}"), "--clear-groups", "--"];
    Ok(prefix.map(str::to_owned).to_vec())
}

fn random_password() -> Result<String> {
    let mut bytes = [0_u8; 16];
    std::io::Read::read_exact(&mut fs::File::open("/dev/urandom")?, &mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
