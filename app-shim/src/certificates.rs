//! Certificates and private keys that are read again at SIGHUP: connections that exist keep theirs, and
//! files that are no good change nothing.

use crate::config::{Admin, Config, Tls};
use crate::data_port::DataPort;
use crate::state::State;
use anyhow::Context as _;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::signal::unix::Signal;
use trefoil_link::{Clients, ServedTls, Source};

const POSTGRESQL: &[&[u8]] = &[b"postgresql"];
const HTTP_1_1: &[&[u8]] = &[b"http/1.1"];
const HTTP: &[&[u8]] = &[b"h2", b"http/1.1"];

/// All that the sidecar shows.
pub(crate) struct Certificates {
    /// To the application, at the first door.
    pub(crate) door_one: Option<Arc<ServedTls>>,
    /// To the application's users, at the second door.
    pub(crate) door_two: Option<Arc<ServedTls>>,
    /// To the tenant admin.
    pub(crate) admin: Arc<ServedTls>,
    /// To the proxy.
    pub(crate) data_port: Arc<DataPort>,
}

impl Certificates {
    /// Reads all files.
    pub(crate) fn read(config: &Config, state: &State) -> anyhow::Result<Self> {
        let door_one = config.listen.tls.as_ref().map(door_one).transpose()?;
        let door_two = config.http.as_ref().and_then(|http| http.certificate.as_ref()).map(door_two);
        Ok(Self {
            door_one: door_one.map(Arc::new),
            door_two: door_two.transpose()?.map(Arc::new),
            admin: Arc::new(admin(&config.managed.admin, state)?),
            data_port: Arc::new(DataPort::new(&config.proxy)?),
        })
    }

    /// Heeds the signal, until dropped.
    pub(crate) async fn heed(&self, mut hangup: Signal) {
        while hangup.recv().await.is_some() {
            for (key, served) in
                [("tls", &self.door_one), ("http", &self.door_two), ("admin", &Some(self.admin.clone()))]
            {
                let Some(served) = served else { continue };
                match served.reload() {
                    Ok(true) => {
                        tracing::info!(key, fingerprint = %served.offer().fingerprint, "new certificate")
                    }
                    Ok(false) => tracing::debug!(key, "same certificate"),
                    Err(error) => tracing::error!(key, %error, "certificate not read, the former one stays"),
                }
            }
            if let Err(error) = self.data_port.reload() {
                tracing::error!(%error, "certificates not read, the former ones stay");
            }
            tracing::info!("certificates were read again");
        }
    }
}

fn files((certificate, key): &(PathBuf, PathBuf)) -> Source {
    Source::Files { certificate: certificate.clone(), key: key.clone() }
}

fn clients(authority: Option<&PathBuf>, required: bool) -> Option<Clients> {
    authority.map(|path| Clients { authority: path.clone(), required })
}

fn door_one(config: &Tls) -> anyhow::Result<ServedTls> {
    let clients = clients(config.client_ca.as_ref(), config.clients_must);
    ServedTls::new(files(&config.certificate), clients, config.tls12, POSTGRESQL).context("[tls]")
}

fn door_two(certificate: &(PathBuf, PathBuf)) -> anyhow::Result<ServedTls> {
    ServedTls::new(files(certificate), None, false, HTTP).context("[http]")
}

fn admin(config: &Admin, state: &State) -> anyhow::Result<ServedTls> {
    let source = match &config.certificate {
        None => Source::Own(state.identity()?),
        Some(certificate) => files(certificate),
    };
    ServedTls::new(source, clients(config.client_ca.as_ref(), true), false, HTTP_1_1).context("[admin]")
}
