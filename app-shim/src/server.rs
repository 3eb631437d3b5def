//! `sidecar`: listens, serves each connection in a task of its own, and heeds signals.

use crate::config::Config;
use crate::session::{Shared, serve};
use crate::shares::Shares;
use anyhow::Context as _;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

/// Runs until SIGTERM or SIGINT; open connections are cut. SIGHUP reads the application's bundle
/// again.
pub(crate) async fn run(config: Config, shares: Arc<Shares>) -> anyhow::Result<()> {
    let listener = TcpListener::bind(config.listen)
        .await
        .with_context(|| format!("cannot listen on {}; choose another address by `listen`", config.listen))?;
    let mut hangup = signal(SignalKind::hangup())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let shared =
        Arc::new(Shared { proxy: config.proxy, shares: shares.clone(), max_message: config.max_message });
    tracing::info!("listening on {}", listener.local_addr()?);
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((client, _)) => {
                    let shared = shared.clone();
                    tokio::spawn(async move {
                        if let Err(error) = serve(client, &shared).await {
                            tracing::debug!(kind = %error.kind(), "connection broke off");
                        }
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    // Out of descriptors: let some connections end.
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            },
            _ = hangup.recv() => match shares.reload() {
                Ok(()) => tracing::info!("application bundle read again"),
                Err(error) => tracing::error!("application bundle not read again, the old one stays: {error:#}"),
            },
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
        }
    }
    tracing::info!("stopped");
    Ok(())
}
