//! The HTTPS interface for the tenant admin: commands that change the application's shares and the
//! proxy's together, and questions about them. It is the only way to change them, and no answer ever
//! holds a share.
//!
//! | request | answer |
//! |---|---|
//! | `POST /v1/AddUser`, `/v1/AddUsers`, `/v1/ChangeKey`, `/v1/WithdrawUser`, `/v1/RenewShares`, `/v1/RotateKey` (a [`Delivery`](trefoil_keys::command::Delivery)) | 200 or 422 with the proxy's receipt, 202 with what is in doubt |
//! | `GET /v1/users` | epochs by keyspace by UId |
//! | `GET /v1/pending` | the command that is in doubt |
//! | `GET /v1/status?nonce=…` | the proxy's signed status |
//! | `GET /v1/announcement`, without login | the tenant admin's newest announcement |
//! | `PUT /v1/announcement` | 200 if it is newer, or the same once more |
//! | `GET /health`, without login | whether the sidecar can do its work |
//!
//! Everything else is refused with a `Problem`.

mod announcement;
mod commands;
mod limit;
mod login;
mod questions;

use crate::proxy::Proxy;
use crate::shares::Shares;
use crate::state::State;
use crate::two_phase::{Coordinator, InDoubt};
use anyhow::Context as _;
use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post};
use login::Login;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::sync::watch;
use trefoil_https::problem::{method_not_allowed, not_found};
use trefoil_https::server::{self, Bounds};
use trefoil_link::ServedTls;

/// What requests need.
pub(crate) struct Interface {
    /// The store.
    pub(crate) state: Arc<State>,
    /// What goes with requests of the application.
    pub(crate) shares: Arc<Shares>,
    /// The proxy's admin port.
    pub(crate) proxy: Arc<Proxy>,
    /// Where deliveries go.
    pub(crate) coordinator: Coordinator,
    /// The command that is in doubt.
    pub(crate) in_doubt: watch::Receiver<Option<InDoubt>>,
}

impl Interface {
    /// Serves until dropped.
    pub(crate) async fn serve(self, listen: SocketAddr, tls: Arc<ServedTls>) -> anyhow::Result<()> {
        let login = Login::new(self.state.password()?, self.state.proxy()?.tenant);
        let listener = TcpListener::bind(listen).await.with_context(|| {
            format!("cannot listen on {listen}; choose another address by `admin.listen`")
        })?;
        tracing::info!("admin port at {}", listener.local_addr()?);
        let app = router(Arc::new(self), Arc::new(login));
        server::serve(listener, tls, app, Bounds::default()).await;
        Ok(())
    }
}

fn router(interface: Arc<Interface>, login: Arc<Login>) -> Router {
    let mut closed = Router::new()
        .route("/v1/users", get(questions::users))
        .route("/v1/pending", get(questions::pending))
        .route("/v1/status", get(questions::status))
        .route("/v1/announcement", axum::routing::put(announcement::put));
    for (path, operation) in commands::ROUTES {
        let carry_out = move |state, body| commands::carry_out(operation, state, body);
        closed = closed.route(path, post(carry_out));
    }
    Router::new()
        .merge(closed.layer(from_fn_with_state(login, login::require)))
        .route("/v1/announcement", get(announcement::get))
        .route("/health", get(questions::health))
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .with_state(interface)
}
