//! Deliveries from the tenant admin: the proxy's half and the application's change together or not at
//! all.
//!
//! Two-phase commit, in which the proxy decides. The sidecar *prepares* (the delivery is durable), asks
//! the proxy, and *commits* or *aborts* as the proxy's signed receipt says. In between it is in doubt,
//! and asks again every few seconds and after a restart; a proxy that has applied a command answers it
//! with the same receipt, so asking again changes nothing. One delivery at a time, in the order of their
//! numbers without a gap, as the proxy takes them: commands may reach the proxy on other ways, and a gap
//! would be shares that the proxy has changed and the sidecar has not.
//!
//! From the proxy's change to the sidecar's, the shares of the users concerned do not fit together and
//! their requests fail: for milliseconds, or until the proxy's answer gets through. Others notice
//! nothing.

mod check;
mod order;

pub(crate) use order::{Coordinator, InDoubt, Order, Outcome};

use crate::proxy::{Proxy, ProxyError};
use crate::shares::Shares;
use crate::state::{KnownProxy, State, StateError, internal};
use crate::tenant_key::{NO_PROXY, no_proxy, with_tenant_key};
use crate::tka;
use anyhow::Context as _;
use check::Turn;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::block_in_place;
use tokio::time::timeout;
use trefoil_https::Problem;
use trefoil_keys::command::{Command, Delivery, Operation};
use trefoil_keys::kill_point;
use trefoil_keys::receipt;

/// How long until the proxy is asked again.
const RETRY: Duration = Duration::from_secs(3);

/// Carries out one delivery after the other.
pub(crate) struct Worker {
    state: Arc<State>,
    shares: Arc<Shares>,
    proxy: Arc<Proxy>,
    known: KnownProxy,
    prepared: Option<Prepared>,
    in_doubt: watch::Sender<Option<InDoubt>>,
    /// Why it is in doubt, as it was logged: not again at each try.
    told: String,
}

struct Prepared {
    command: Command,
    delivery: Delivery,
}

impl Prepared {
    fn in_doubt(&self) -> InDoubt {
        InDoubt::of(&self.command, &self.delivery.command)
    }
}

/// Why a prepared delivery stays in doubt.
#[derive(Debug, thiserror::Error)]
enum Unsettled {
    #[error(transparent)]
    Proxy(#[from] ProxyError),
    #[error(transparent)]
    State(#[from] StateError),
}

impl Worker {
    /// Takes up what was prepared before.
    pub(crate) fn new(
        state: Arc<State>,
        shares: Arc<Shares>,
        proxy: Arc<Proxy>,
        in_doubt: watch::Sender<Option<InDoubt>>,
    ) -> anyhow::Result<Self> {
        let known = state.proxy()?;
        let open = |delivery: Delivery| {
            let key = known.tenant_key.as_ref().context("the tenant admin's key is not known")?;
            anyhow::Ok(Prepared { command: delivery.open(key)?, delivery })
        };
        let prepared = state.prepared()?.map(open).transpose().context("the command that is in doubt")?;
        in_doubt.send_replace(prepared.as_ref().map(Prepared::in_doubt));
        Ok(Self { state, shares, proxy, known, prepared, in_doubt, told: String::new() })
    }

    /// Runs until there can be no more orders.
    pub(crate) async fn run(mut self, mut orders: mpsc::Receiver<Order>) {
        self.settle().await;
        loop {
            let order = if self.prepared.is_none() {
                orders.recv().await
            } else if let Ok(order) = timeout(RETRY, orders.recv()).await {
                order
            } else {
                self.settle().await;
                continue;
            };
            let Some(Order { operation, delivery, answer }) = order else { return };
            let outcome = self.carry_out(operation, delivery).await;
            // Who gave the order may have gone; what was done stays.
            drop(answer.send(outcome));
        }
    }

    async fn carry_out(&mut self, operation: &str, delivery: Delivery) -> Result<Outcome, Problem> {
        self.known = with_tenant_key(&self.state, &self.proxy).await?;
        let command = check::open(&delivery, operation, &self.known)?;
        if let Some(prepared) = &self.prepared {
            let same = prepared.delivery.command == delivery.command;
            match (self.settle().await, same) {
                (Some(outcome), true) => return Ok(outcome),
                (None, true) => return Ok(Outcome::InDoubt(InDoubt::of(&command, &delivery.command))),
                (None, false) => return Err(check::OTHER_IN_DOUBT),
                (Some(_), false) => {}
            }
        }
        match check::turn(&self.state, &self.known, &command, &delivery.command)? {
            Turn::Settled(receipt) => return Ok(Outcome::Applied(receipt)),
            Turn::Passed => return self.ask(&command, &delivery).await,
            Turn::Next => {}
        }
        if let Err(problem) = check::in_time(&command)
            && !self.is_passed(&command).await?
        {
            return Err(problem);
        }
        block_in_place(|| self.state.prepare(&delivery)).map_err(internal)?;
        let prepared = Prepared { command, delivery };
        let doubt = prepared.in_doubt();
        self.in_doubt.send_replace(Some(doubt.clone()));
        self.prepared = Some(prepared);
        kill_point("sidecar.prepared");
        Ok(self.settle().await.unwrap_or(Outcome::InDoubt(doubt)))
    }

    /// Whether the proxy may have applied a command of this number: whether this one, it knows, and in
    /// what time it came.
    async fn is_passed(&self, command: &Command) -> Result<bool, Problem> {
        let (_, last) = self.proxy.introduce(Some(&self.known)).await.map_err(no_proxy)?;
        Ok(command.seq <= last)
    }

    /// The proxy's receipt for a command whose number is passed: it came to the proxy on another way, or
    /// before this state began. If it was applied, what is missing here of it is taken.
    async fn ask(&self, command: &Command, delivery: &Delivery) -> Result<Outcome, Problem> {
        let jws = &delivery.command;
        // Or else the proxy would apply it now, and the sidecar not.
        if !self.is_passed(command).await? {
            return Err(check::proxy_behind(command));
        }
        let (receipt, opened) = self.proxy.command(jws, &self.known).await.map_err(no_proxy)?;
        if !opened.answers(command, jws) {
            return Err(NO_PROXY);
        }
        let (seq, op) = (command.seq, command.op.name());
        match opened.outcome {
            receipt::Outcome::Applied => {
                let taken = self.catch_up(command, delivery).map_err(internal)?;
                tracing::warn!(seq, op, users = taken, "command applied by the proxy before: taken up late");
                Ok(Outcome::Applied(receipt))
            }
            receipt::Outcome::Refused { .. } => Ok(Outcome::Refused(receipt)),
        }
    }

    /// How many users got the shares that they lacked here.
    fn catch_up(&self, command: &Command, delivery: &Delivery) -> Result<usize, StateError> {
        let taken = block_in_place(|| self.state.catch_up(command, delivery))?;
        let shares = taken.iter().filter_map(|uid| Some((uid, delivery.tka.get(uid)?)));
        let shares = shares.map(|(uid, shares)| Ok((uid.clone(), tka::text(shares)?)));
        self.shares.application.put(shares.collect::<Result<Vec<_>, StateError>>()?);
        if let Operation::Withdraw { sub } = &command.op {
            self.shares.application.remove(sub);
            self.shares.remembered.forget(sub);
        }
        Ok(taken.len())
    }

    /// Asks the proxy about what is prepared, if anything is, and does as it says. `None` if it stays
    /// in doubt.
    async fn settle(&mut self) -> Option<Outcome> {
        let prepared = self.prepared.take()?;
        match self.decide(&prepared).await {
            Ok(outcome) => {
                self.told.clear();
                self.in_doubt.send_replace(None);
                Some(outcome)
            }
            Err(reason) => {
                let (seq, op, reason) =
                    (prepared.command.seq, prepared.command.op.name(), reason.to_string());
                if self.told != reason {
                    tracing::warn!(seq, op, "command in doubt: {reason}");
                    self.told = reason;
                }
                self.prepared = Some(prepared);
                None
            }
        }
    }

    async fn decide(&self, prepared: &Prepared) -> Result<Outcome, Unsettled> {
        let Prepared { command, delivery } = prepared;
        let (jws, receipt) = self.proxy.command(&delivery.command, &self.known).await?;
        if !receipt.answers(command, &delivery.command) {
            return Err(ProxyError::Mismatch.into());
        }
        kill_point("sidecar.answered");
        let (seq, op) = (command.seq, command.op.name());
        match &receipt.outcome {
            receipt::Outcome::Applied => {
                self.commit(prepared, &jws)?;
                tracing::info!(seq, op, "command applied");
                Ok(Outcome::Applied(jws))
            }
            receipt::Outcome::Refused { code, .. } => {
                block_in_place(|| self.state.abort())?;
                kill_point("sidecar.aborted");
                tracing::warn!(seq, op, code, "command refused by the proxy");
                Ok(Outcome::Refused(jws))
            }
        }
    }

    /// The sidecar's own half: first where it lasts, then where requests see it.
    fn commit(&self, Prepared { command, delivery }: &Prepared, receipt: &str) -> Result<(), StateError> {
        let shares = delivery.tka.iter().map(|(uid, shares)| Ok((uid.clone(), tka::text(shares)?)));
        let shares = shares.collect::<Result<Vec<_>, StateError>>()?;
        block_in_place(|| self.state.commit(command, delivery, receipt))?;
        kill_point("sidecar.committed");
        self.shares.application.put(shares);
        if let Operation::Withdraw { sub } = &command.op {
            self.shares.application.remove(sub);
            self.shares.remembered.forget(sub);
        }
        Ok(())
    }
}
