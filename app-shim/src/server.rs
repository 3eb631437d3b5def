//! `sidecar`: its parts, from their configuration to their end, and the signals that it heeds.

use crate::act_for::ActFor;
use crate::admin::Interface;
use crate::certificates::Certificates;
use crate::config::{Config, Http, Managed};
use crate::door_one::DoorOne;
use crate::door_two;
use crate::envelopes::{Envelopes, Memory};
use crate::proxy::Proxy;
use crate::session::Shared;
use crate::shares::Shares;
use crate::state::State;
use crate::tka::ApplicationShares;
use crate::two_phase::{Coordinator, Order, Worker};
use anyhow::{Context as _, anyhow, bail, ensure};
use std::sync::Arc;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};
use trefoil_link::{ServedTls, Workers};

/// A sidecar with its shares, before it listens.
pub(crate) struct Sidecar {
    shares: Arc<Shares>,
    certificates: Certificates,
    interface: Interface,
    worker: Worker,
    orders: mpsc::Receiver<Order>,
}

impl Sidecar {
    /// Reads the application's shares, the bundle of the user to act for, and certificates.
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
        let certificates = Certificates::read(config, &interface.state)?;
        Ok(Self { shares, certificates, interface, worker, orders })
    }

    /// Runs until SIGTERM or SIGINT; open connections are cut.
    pub(crate) async fn run(self, config: Config, workers: &Workers) -> anyhow::Result<()> {
        let door_one = DoorOne::open(&config.listen, config.limits).await;
        let door_one = door_one
            .map_err(|error| anyhow!("{error}; choose another address by `listen` or `unix_socket`"))?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let hangup = signal(SignalKind::hangup())?;
        let Self { shares, certificates, interface, worker, orders } = self;
        let envelopes = Arc::new(Envelopes::new(shares.clone(), interface.proxy.clone()));
        let state = interface.state.clone();
        let worker = tokio::spawn(worker.run(orders));
        let shared = Shared {
            tls: certificates.door_one.clone(),
            clients_must: config.listen.tls.is_some_and(|tls| tls.clients_must),
            authentication: config.limits.authentication,
            proxy: certificates.data_port.clone(),
            shares,
            user_from: Arc::new(config.user_from),
            max_message: config.max_message,
        };
        tokio::select! {
            () = door_one.run(Arc::new(shared), workers) => {}
            // It ends with the interface, or by a defect: then no command would be carried out any more.
            _ = worker => bail!("the worker for commands has ended; the log says where"),
            outcome = interface.serve(config.managed.admin.listen, certificates.admin.clone()) => outcome?,
            outcome = second_door(config.http.as_ref(), certificates.door_two.clone(), envelopes, state) => outcome?,
            () = certificates.heed(hangup) => {}
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("stopped");
        Ok(())
    }
}

async fn second_door(
    config: Option<&Http>,
    tls: Option<Arc<ServedTls>>,
    envelopes: Arc<Envelopes>,
    state: Arc<State>,
) -> anyhow::Result<()> {
    match config {
        Some(config) => door_two::run(config, tls, envelopes, state).await,
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
