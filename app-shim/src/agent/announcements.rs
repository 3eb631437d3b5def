//! Keeps up with the proxy's keys: fetches the tenant admin's announcement from the application, where it
//! is to be had, and heeds it once its signature is verified.

use crate::http::fields::{ANNOUNCEMENT_PATH, ANNOUNCEMENT_TYPE};
use crate::http::{Client, Onward};
use crate::issuer::Issuer;
use crate::sealing_key;
use anyhow::{Context as _, bail};
use axum::body::Body;
use axum::http::header::CONTENT_TYPE;
use axum::http::{Request, StatusCode};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::task::block_in_place;
use tokio::time::{sleep, timeout};
use trefoil_https::body;
use trefoil_keys::announcement::Announcement;
use trefoil_keys::signing::Claims as _;

/// Keys overlap for days.
const EVERY: Duration = Duration::from_secs(3600);
/// Between two, whoever asks.
const REST: Duration = Duration::from_secs(5);
const LIMIT: Duration = Duration::from_secs(20);

/// What follows them.
pub(super) struct Announcements(Arc<Notify>);

impl Announcements {
    /// Begins to follow, and does not stop.
    pub(super) fn follow(client: Arc<Client>, issuer: Arc<Issuer>, bundle: PathBuf) -> Self {
        let asked = Arc::new(Notify::new());
        let wake = asked.clone();
        tokio::spawn(async move {
            loop {
                match timeout(LIMIT, fetch(&client, &issuer, &bundle)).await {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => tracing::warn!("no announcement of the proxy's keys: {error:#}"),
                    Err(_) => tracing::warn!("no announcement of the proxy's keys: no answer in time"),
                }
                sleep(REST).await;
                drop(timeout(EVERY, wake.notified()).await);
            }
        });
        Self(asked)
    }

    /// Has it fetched soon.
    pub(super) fn ask(&self) {
        self.0.notify_one();
    }
}

async fn fetch(client: &Client, issuer: &Issuer, bundle_path: &Path) -> anyhow::Result<()> {
    let request = Request::get(ANNOUNCEMENT_PATH).body(Body::empty())?;
    let response =
        client.send(Onward::new(request)).await.map_err(|problem| anyhow::anyhow!(problem.message))?;
    match response.status() {
        StatusCode::OK => {}
        // An application without a second door knows of none, and neither does a tenant before its first.
        StatusCode::NOT_FOUND => return Ok(()),
        status => bail!("the application answers {status}"),
    }
    // Some applications have a page for every path.
    if response.headers().get(CONTENT_TYPE).is_none_or(|kind| kind != ANNOUNCEMENT_TYPE) {
        return Ok(());
    }
    let text = body::read(response.into_body(), Announcement::MAX_LENGTH)
        .await
        .map_err(|problem| anyhow::anyhow!(problem.message))?;
    let jws = std::str::from_utf8(&text).context("it is not text")?;
    let bundle = issuer.bundle();
    if bundle.announcement_key.is_none() {
        return Ok(());
    }
    let source = client.origin().to_string();
    let newest = block_in_place(|| sealing_key::take_up(bundle, bundle_path, jws.trim_end(), &source))?;
    if let Some(newest) = &newest {
        issuer.seal_to(newest);
    }
    Ok(())
}
