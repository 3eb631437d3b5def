//! `sidecar`: listens, serves each connection in a task of its own, and heeds signals; beside it, where
//! the tenant admin manages the shares, the interface for that.

use crate::act_for::ActFor;
use crate::admin::Interface;
use crate::config::{Config, Http, Managed};
use crate::door_two;
use crate::envelopes::{Envelopes, Memory};
use crate::proxy::Proxy;
use crate::session::{Shared, serve};
use crate::shares::Shares;
use crate::state::State;
use crate::tka::ApplicationShares;
use crate::two_phase::{Coordinator, Order, Worker};
use anyhow::{Context as _, bail, ensure};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};

/// A sidecar with its shares, before it listens.
pub(crate) struct Sidecar {
    shares: Arc<Shares>,
    interface: Interface,
    worker: Worker,
    orders: mpsc::Receiver<Order>,
}

impl Sidecar {
    /// Reads the application's shares, and the bundle of the user to act for.
    pub(crate) fn open(config: &Config) -> anyhow::Result<Self> {
        let act_for = config.act_for.as_deref();
        let act_for = act_for.map(|path| ActFor::read(path, config.envelope_lifetime)).transpose()?;
        let Managed { state, lock, proxy_admin, .. } = &config.managed;
        let state = Arc::new(State::open(state, lock)?);
        check_audience(act_for.as_ref(), &state.proxy()?.application)?;
        if let (Some(act_for), Some(announcement)) = (&act_for, state.announcement()?) {
            act_for.heed(&announcement).context("the announcement of the proxy's keys")?;
        }
        let (application, remembered) = (ApplicationShares::new(state.shares()?), Memory::default());
        let shares = Arc::new(Shares { application, remembered, act_for });
        let proxy = Arc::new(Proxy::new(proxy_admin)?);
        let (tell, in_doubt) = watch::channel(None);
        let worker = Worker::new(state.clone(), shares.clone(), proxy.clone(), tell)?;
        let (coordinator, orders) = Coordinator::new();
        let interface = Interface { state, shares: shares.clone(), proxy, coordinator, in_doubt };
        Ok(Self { shares, interface, worker, orders })
    }

    /// Runs until SIGTERM or SIGINT; open connections are cut.
    pub(crate) async fn run(self, config: Config) -> anyhow::Result<()> {
        let listener = TcpListener::bind(config.listen).await.with_context(|| {
            format!("cannot listen on {}; choose another address by `listen`", config.listen)
        })?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        // Nothing is to be read again, and by default the signal would end the process.
        let _ignored = signal(SignalKind::hangup())?;
        let Self { shares, interface, worker, orders } = self;
        let envelopes = Arc::new(Envelopes::new(shares.clone(), interface.proxy.clone()));
        let state = interface.state.clone();
        let worker = tokio::spawn(worker.run(orders));
        let shared = Shared {
            proxy: config.proxy,
            shares,
            user_from: Arc::new(config.user_from),
            max_message: config.max_message,
        };
        tokio::select! {
            outcome = accept(listener, Arc::new(shared)) => outcome?,
            // It ends with the interface, or by a defect: then no command would be carried out any more.
            _ = worker => bail!("the worker for commands has ended; the log says where"),
            outcome = interface.serve(&config.managed.admin) => outcome?,
            outcome = second_door(config.http.as_ref(), envelopes, state) => outcome?,
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("stopped");
        Ok(())
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) -> anyhow::Result<()> {
    tracing::info!("listening on {}", listener.local_addr()?);
    loop {
        match listener.accept().await {
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
        }
    }
}

async fn second_door(
    config: Option<&Http>,
    envelopes: Arc<Envelopes>,
    state: Arc<State>,
) -> anyhow::Result<()> {
    match config {
        Some(config) => door_two::run(config, envelopes, state).await,
        None => std::future::pending().await,
    }
}

fn check_audience(act_for: Option<&ActFor>, application: &str) -> anyhow::Result<()> {
    let audience = act_for.map_or(application, ActFor::audience);
    ensure!(
        audience == application,
        "the user bundle is for application {audience}, the shares are those of {application}; have both \
         issued for the same one",
    );
    Ok(())
}
