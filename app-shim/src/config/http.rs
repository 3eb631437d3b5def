//! The part of the configuration for the second door: where the application's users come in by HTTP.

use super::ConfigError;
use super::check::{address, both, within};
use crate::http::Origin;
use serde::Deserialize;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// The second door.
#[derive(Debug)]
pub(crate) struct Http {
    /// Where it listens.
    pub(crate) listen: SocketAddr,
    /// The application, on this machine.
    pub(crate) application: Origin,
    /// Files (PEM) of a certificate and its private key; cleartext without them.
    pub(crate) certificate: Option<(PathBuf, PathBuf)>,
    /// How long the application may neither take nor send anything before it answers.
    pub(crate) response_timeout: Duration,
}

/// [`Http`] as the file has it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawHttp {
    listen: String,
    application: String,
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
    response_timeout: Option<u64>,
}

impl RawHttp {
    pub(super) fn check(self) -> Result<Http, ConfigError> {
        let remedy = "name both files, or neither to listen in clear on a loopback address";
        let certificate = both("http.certificate", self.certificate, self.key, remedy)?;
        let listen = address("http.listen", &self.listen)?;
        if certificate.is_none() && !listen.ip().is_loopback() {
            return Err(ConfigError::Value {
                key: "http.listen",
                problem: format!(
                    "{listen} is not a loopback address, and envelopes would cross a network in clear"
                ),
                remedy: "name certificate and key, or listen on 127.0.0.1 or [::1] behind a server that has them",
            });
        }
        let not_beside = |problem| ConfigError::Value {
            key: "http.application",
            problem,
            remedy: "write it like http://127.0.0.1:8000, or h2c://127.0.0.1:8000 for HTTP/2 alone",
        };
        let application: Origin = self.application.parse().map_err(|error| not_beside(format!("{error}")))?;
        if application.is_encrypted() || !application.is_loopback() {
            return Err(not_beside(format!(
                "`{}` is not an application beside the sidecar",
                self.application
            )));
        }
        let response_timeout = response_timeout("http.response_timeout", self.response_timeout)?;
        Ok(Http { listen, application, certificate, response_timeout })
    }
}

/// How long an origin is waited for.
pub(super) fn response_timeout(key: &'static str, seconds: Option<u64>) -> Result<Duration, ConfigError> {
    within(key, seconds.unwrap_or(60), 1..=24 * 60 * 60).map(Duration::from_secs)
}
