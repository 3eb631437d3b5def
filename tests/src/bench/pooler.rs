//! PgBouncer, as Debian has it, in session mode; with TLS for clients that ask for it.

use crate::authority::Certified;
use crate::cluster::{become_server_user, free_port};
use crate::endpoint::Endpoint;
use crate::leash::Leash;
use crate::tenant::output;
use crate::{Error, Result};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// A running PgBouncer.
pub(super) struct Pooler {
    process: Leash,
    port: u16,
}

impl Pooler {
    /// Starts one in front of this server, with its files in `dir`. It asks for no password, as the server
    /// does not. The server's user may also use its console, the database `pgbouncer`.
    pub(super) fn start(dir: &Path, server: &Endpoint, certified: &Certified) -> Result<Self> {
        fs::create_dir_all(dir).map_err(|error| Error::at(dir, &error))?;
        let port = free_port()?;
        let path = |name: &str| dir.join(name).display().to_string();
        fs::copy(&certified.certificate, path("crt"))?;
        fs::copy(&certified.key, path("key"))?;
        fs::write(path("users"), format!("{:?} \"\"\n", server.user))?;
        let text = format!(
            "[databases]\n* = host={} port={}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n\
             unix_socket_dir =\nauth_type = trust\nauth_file = {}\nadmin_users = {}\npool_mode = session\n\
             max_client_conn = 2000\ndefault_pool_size = 2000\nserver_tls_sslmode = disable\n\
             client_tls_sslmode = allow\nclient_tls_cert_file = {}\nclient_tls_key_file = {}\n",
            server.host,
            server.port,
            path("users"),
            server.user,
            path("crt"),
            path("key"),
        );
        fs::write(path("pgbouncer.ini"), text)?;
        // It does not run as root either.
        let mut command = become_server_user(dir)?;
        for name in ["crt", "key", "users", "pgbouncer.ini"] {
            become_server_user(&dir.join(name))?;
        }
        command.extend([program().to_owned(), path("pgbouncer.ini")]);
        let mut process = Leash::start("pgbouncer", &command, "INT", &dir.join("log"), None)?;
        process.wait_for("process up", Duration::from_secs(10))?;
        Ok(Self { process, port })
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    pub(super) fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// What it calls itself.
    pub(super) fn version() -> Result<String> {
        Ok(output(Command::new(program()).arg("--version"))?.lines().next().unwrap_or_default().to_owned())
    }
}

fn program() -> &'static str {
    let places = ["/usr/sbin/pgbouncer", "/usr/bin/pgbouncer"];
    places.into_iter().find(|path| Path::new(path).exists()).unwrap_or("pgbouncer")
}
