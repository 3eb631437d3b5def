//! The tenant admin's key, by which commands and announcements are verified. The proxy makes it in its
//! bootstrap, which may come after the sidecar's `init`; so it is asked for until it is known, and from
//! then on it never changes.

use crate::proxy::{Proxy, ProxyError};
use crate::state::{KnownProxy, State, internal};
use axum::http::StatusCode;
use tokio::task::block_in_place;
use trefoil_https::Problem;

/// The proxy cannot be asked.
pub(crate) const NO_PROXY: Problem = Problem::new(
    StatusCode::SERVICE_UNAVAILABLE,
    "no-proxy",
    "the proxy's admin port gives no answer that is of use",
    "the sidecar's log says why; send this again when the proxy can be reached",
);
/// The key is not known yet.
pub(crate) const NO_BOOTSTRAP: Problem = Problem::new(
    StatusCode::SERVICE_UNAVAILABLE,
    "no-bootstrap",
    "the proxy does not know the tenant admin's key yet",
    "finish the bootstrap of the proxy: trefoil-admin bootstrap",
);

/// Logs why the proxy's answer is of no use.
pub(crate) fn no_proxy(error: ProxyError) -> Problem {
    tracing::warn!("{error}");
    NO_PROXY
}

/// The proxy as it is known, with the tenant admin's key.
pub(crate) async fn with_tenant_key(state: &State, proxy: &Proxy) -> Result<KnownProxy, Problem> {
    let known = block_in_place(|| state.proxy()).map_err(internal)?;
    if known.tenant_key.is_some() {
        return Ok(known);
    }
    let (found, _) = proxy.introduce(Some(&known)).await.map_err(no_proxy)?;
    if found.tenant_key.is_none() {
        return Err(NO_BOOTSTRAP);
    }
    block_in_place(|| state.put_proxy(&found)).map_err(internal)?;
    Ok(found)
}
