//! The tenant admin's login: HTTP Basic (RFC 7617), the user being the tenant's name.
//!
//! The password is compared with its slow hash until it has come once; then with an HMAC under a key
//! that lasts as long as the process. Comparisons take the same time whatever differs.
//!
//! Invariant: nobody's wrong logins refuse the right one. So guesses are not turned away unheard: whoever
//! has failed often ([`super::limit`]) stands back while the hash is slow, one after another.

use super::limit::Limit;
use aws_lc_rs::hmac;
use axum::Extension;
use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use base64ct::{Base64, Encoding as _};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};
use tokio::task::block_in_place;
use tokio::time::sleep;
use trefoil_https::server::Peer;
use trefoil_https::{Problem, body};
use trefoil_keys::password::PasswordHash;
use zeroize::Zeroizing;

/// How long whoever has failed often stands back for one slow hash.
const PAUSE: Duration = Duration::from_secs(1);
/// Longest header that is looked at.
const MAX_HEADER: usize = 1024;

const UNAUTHORIZED: Problem = Problem::new(
    StatusCode::UNAUTHORIZED,
    "login",
    "no login, or the wrong one",
    "log in with the tenant's name and the password that trefoil-shim init has printed",
);
const TOO_MANY: Problem = Problem::new(
    StatusCode::TOO_MANY_REQUESTS,
    "too-many-failures",
    "no login, or the wrong one, as many times before from this address",
    "find out the right password, which is heard at any time; before others wait as long as Retry-After says",
);

/// Who may log in.
pub(super) struct Login {
    tenant: String,
    password: PasswordHash,
    key: hmac::Key,
    /// HMAC of the password, once it has come.
    known: OnceLock<hmac::Tag>,
    limit: Mutex<Limit>,
    /// Held over the slow hash, so that many requests at once are no more guesses than one by one.
    turn: tokio::sync::Mutex<()>,
    /// Held by one of those that have failed often.
    back: tokio::sync::Mutex<()>,
}

/// Why a request is not heard.
enum Refused {
    Wrong,
    /// Wrong, and further ones should wait this long.
    Often(Duration),
}

impl Login {
    /// The tenant with this name and password.
    pub(super) fn new(password: PasswordHash, tenant: String) -> Self {
        let key = Zeroizing::new(rand::random::<[u8; 32]>());
        let key = hmac::Key::new(hmac::HMAC_SHA256, key.as_slice());
        Self {
            tenant,
            password,
            key,
            known: OnceLock::new(),
            limit: Mutex::default(),
            turn: tokio::sync::Mutex::default(),
            back: tokio::sync::Mutex::default(),
        }
    }

    /// Whether these credentials, `user:password`, are right.
    async fn check(&self, credentials: &[u8], address: IpAddr) -> Result<(), Refused> {
        if self.known.get().is_some() {
            return self.judge(address, self.is_right(credentials));
        }
        let stands_back = !self.limit().wait(address, Instant::now()).is_zero();
        let _back = if stands_back { Some(self.back.lock().await) } else { None };
        if stands_back {
            sleep(PAUSE).await;
        }
        let _turn = self.turn.lock().await;
        self.judge(address, block_in_place(|| self.is_right(credentials)))
    }

    fn judge(&self, address: IpAddr, is_right: bool) -> Result<(), Refused> {
        if is_right {
            self.limit().succeeded(address);
            return Ok(());
        }
        let wait = self.limit().failed(address, Instant::now());
        if !wait.is_zero() {
            return Err(Refused::Often(wait));
        }
        tracing::warn!(%address, "wrong login at the tenant admin's interface");
        Err(Refused::Wrong)
    }

    fn is_right(&self, credentials: &[u8]) -> bool {
        let text = std::str::from_utf8(credentials).unwrap_or_default();
        let (user, password) = text.split_once(':').unwrap_or_default();
        let read = self.password.read(password);
        if let Some(known) = self.known.get() {
            let same = read.filter(|_| user == self.tenant);
            return same.is_some_and(|it| hmac::verify(&self.key, it.as_bytes(), known.as_ref()).is_ok());
        }
        // The password in any case: the time tells nothing of the user.
        let right = self.password.verify(password) & (user == self.tenant);
        if let Some(password) = read.filter(|_| right) {
            self.known.get_or_init(|| hmac::sign(&self.key, password.as_bytes()));
        }
        right
    }

    fn limit(&self) -> MutexGuard<'_, Limit> {
        self.limit.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Lets requests with the right login pass.
pub(super) async fn require(
    State(login): State<Arc<Login>>,
    Extension(peer): Extension<Peer>,
    mut request: Request,
    next: Next,
) -> Response {
    let header = request.headers_mut().remove(AUTHORIZATION);
    let checked = match header {
        None => Err(Refused::Wrong),
        Some(header) => login.check(&decode(&header).unwrap_or_default(), peer.address.ip()).await,
    };
    let Err(refused) = checked else {
        peer.keep();
        return next.run(request).await;
    };
    body::discard(request.into_body()).await;
    match refused {
        Refused::Wrong => unauthorized(),
        Refused::Often(wait) => {
            let seconds = HeaderValue::from(wait.as_secs().saturating_add(1));
            ([(RETRY_AFTER, seconds)], TOO_MANY).into_response()
        }
    }
}

fn unauthorized() -> Response {
    let challenge = HeaderValue::from_static("Basic realm=\"trefoil\", charset=\"UTF-8\"");
    ([(WWW_AUTHENTICATE, challenge)], UNAUTHORIZED).into_response()
}

fn decode(header: &HeaderValue) -> Option<Zeroizing<Vec<u8>>> {
    let (scheme, token) = header.as_bytes().split_first_chunk::<6>()?;
    if !scheme.eq_ignore_ascii_case(b"basic ") || token.len() > MAX_HEADER {
        return None;
    }
    let mut buffer = Zeroizing::new(vec![0; token.len()]);
    let length = Base64::decode(token, &mut buffer).ok()?.len();
    buffer.truncate(length);
    Some(buffer)
}
