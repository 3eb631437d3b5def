//! An application's web server: HTTP/1.1 and HTTP/2, in clear or over TLS. It keeps what it was sent.

use axum::body::{Body, Bytes, HttpBody};
use axum::http::header::{DATE, HeaderMap, HeaderName, HeaderValue, LOCATION, SET_COOKIE, WWW_AUTHENTICATE};
use axum::http::{Method, Request, Response, StatusCode, Version};
use futures_util::{SinkExt as _, StreamExt as _};
use http_body::Frame;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use std::convert::Infallible;
use std::future::{pending, poll_fn};
use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio_rustls::TlsAcceptor;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;
use trefoil_keys::tls::{SelfSigned, Serving, server_config};

/// A request as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) http2: bool,
    pub(crate) headers: HeaderMap,
    pub(crate) body: u64,
    pub(crate) trailers: HeaderMap,
}

impl Seen {
    /// The only value of a field.
    #[track_caller]
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.get_all(name).iter();
        let value = values.next().map(|value| value.to_str().unwrap());
        assert!(values.next().is_none(), "{name} twice");
        value
    }
}

/// What it does beside answering.
#[derive(Default)]
pub(crate) struct Manners {
    /// By how much its clock is ahead.
    pub(crate) clock: i64,
    /// What it answers 401 with.
    pub(crate) challenge: Option<&'static str>,
    /// What lies at the place for announcements.
    pub(crate) announcement: Option<String>,
}

pub(crate) struct Origin {
    pub(crate) address: SocketAddr,
    pub(crate) directory: TempDir,
    pub(crate) manners: Arc<Mutex<Manners>>,
    seen: Arc<Mutex<Vec<Seen>>>,
    scheme: &'static str,
    running: Option<Runtime>,
}

#[derive(Clone)]
struct Inside {
    seen: Arc<Mutex<Vec<Seen>>>,
    manners: Arc<Mutex<Manners>>,
}

impl Origin {
    pub(crate) fn start() -> Self {
        Self::start_as("http")
    }

    /// By `http`, `h2c` or `https`.
    pub(crate) fn start_as(scheme: &'static str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let tls = (scheme == "https").then(|| acceptor(directory.path()));
        let (seen, manners) = (Arc::default(), Arc::default());
        let mut origin =
            Self { address: "127.0.0.1:0".parse().unwrap(), directory, manners, seen, scheme, running: None };
        let runtime = Runtime::new().unwrap();
        let listener = runtime.block_on(TcpListener::bind(origin.address)).unwrap();
        origin.address = listener.local_addr().unwrap();
        let inside = Inside { seen: origin.seen.clone(), manners: origin.manners.clone() };
        runtime.spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (tls, inside) = (tls.clone(), inside.clone());
                tokio::spawn(async move {
                    match tls {
                        None => serve(stream, inside).await,
                        Some(tls) => serve(tls.accept(stream).await.unwrap(), inside).await,
                    }
                });
            }
        });
        origin.running = Some(runtime);
        origin
    }

    pub(crate) fn url(&self) -> String {
        let host = if self.scheme == "https" { "localhost" } else { "127.0.0.1" };
        format!("{}://{host}:{}", self.scheme, self.address.port())
    }

    /// Whatever an application could be asked, without what the agent asks for itself.
    #[track_caller]
    pub(crate) fn last(&self) -> Seen {
        self.seen().pop().expect("the origin has seen nothing")
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        let seen = self.seen.lock().unwrap();
        seen.iter().filter(|seen| !seen.path.starts_with("/.well-known/")).cloned().collect()
    }

    pub(crate) fn behave(&self, change: impl FnOnce(&mut Manners)) {
        change(&mut self.manners.lock().unwrap());
    }

    /// Cannot be reached from now on.
    pub(crate) fn stop(&mut self) {
        self.running.take().unwrap().shutdown_background();
    }
}

fn acceptor(directory: &Path) -> TlsAcceptor {
    let identity = SelfSigned::generate(&["localhost".to_owned()]).unwrap();
    let pem = format!(
        "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n",
        base64(&identity.certificate)
    );
    std::fs::write(directory.join("ca.pem"), pem).unwrap();
    let mut config = server_config(identity.identity(), Serving::default()).unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    TlsAcceptor::from(Arc::new(config))
}

pub(crate) fn base64(bytes: &[u8]) -> String {
    use base64ct::Encoding as _;
    base64ct::Base64::encode_string(bytes)
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, inside: Inside) {
    let service = service_fn(move |request: Request<hyper::body::Incoming>| {
        let inside = inside.clone();
        async move { Ok::<_, Infallible>(inside.answer(request.map(Body::new)).await) }
    });
    let server = Builder::new(TokioExecutor::new());
    drop(server.serve_connection_with_upgrades(TokioIo::new(stream), service).await);
}

pub(crate) async fn next(body: &mut Body) -> Option<Frame<Bytes>> {
    poll_fn(|context| Pin::new(&mut *body).poll_frame(context)).await?.ok()
}

impl Inside {
    async fn answer(&self, request: Request<Body>) -> Response<Body> {
        let (parts, mut body) = request.into_parts();
        let mut seen = Seen {
            method: parts.method.to_string(),
            path: parts.uri.path_and_query().unwrap().to_string(),
            http2: parts.version == Version::HTTP_2,
            headers: parts.headers.clone(),
            body: 0,
            trailers: HeaderMap::new(),
        };
        let (path, method) = (parts.uri.path().to_owned(), parts.method.clone());
        // Noted before anything is read, but where the end is waited for.
        let whole = !matches!(path.as_str(), "/stream" | "/socket" | "/slow");
        if whole {
            while let Some(frame) = next(&mut body).await {
                match frame.into_trailers() {
                    Ok(trailers) => seen.trailers = trailers,
                    Err(frame) => seen.body += u64::try_from(frame.into_data().unwrap().len()).unwrap(),
                }
            }
        }
        self.seen.lock().unwrap().push(seen);
        let mut response = match path.as_str() {
            "/stream" => Response::new(body),
            "/slow" => pending().await,
            "/socket" => socket(Request::from_parts(parts, body)),
            "/trailers" => Response::new(Body::new(WithTrailers(0))),
            "/large" => Response::new(Body::new(Large(100 << 20))),
            "/hops" => hops(),
            "/redirect" => {
                let mut response = Response::new(Body::empty());
                *response.status_mut() = StatusCode::FOUND;
                let to = parts.uri.query().unwrap().parse().unwrap();
                response.headers_mut().insert(LOCATION, to);
                response
            }
            "/.well-known/trefoil/announcement" => self.announcement(),
            _ if method == Method::HEAD => Response::new(Body::empty()),
            _ => Response::new(Body::from("here")),
        };
        let manners = self.manners.lock().unwrap();
        if let Some(challenge) = manners.challenge {
            *response.status_mut() = StatusCode::UNAUTHORIZED;
            response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        let shift = Duration::from_secs(manners.clock.unsigned_abs());
        let now = SystemTime::now();
        let now = if manners.clock < 0 { now - shift } else { now + shift };
        let date = HeaderValue::try_from(httpdate::fmt_http_date(now)).unwrap();
        response.headers_mut().insert(DATE, date);
        response
    }

    fn announcement(&self) -> Response<Body> {
        let builder = Response::builder();
        match &self.manners.lock().unwrap().announcement {
            Some(jws) => builder.header("content-type", "application/jose").body(Body::from(jws.clone())),
            None => builder.status(404).body(Body::empty()),
        }
        .unwrap()
    }
}

fn hops() -> Response<Body> {
    let mut response = Response::new(Body::from("here"));
    for (name, value) in
        [("connection", "x-hop"), ("x-hop", "1"), ("keep-alive", "timeout=9"), ("x-end", "1")]
    {
        response.headers_mut().insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    response.headers_mut().append(SET_COOKIE, HeaderValue::from_static("a=1; Domain=app.example"));
    response.headers_mut().append(SET_COOKIE, HeaderValue::from_static("b=2"));
    response
}

/// Echoes messages.
fn socket(mut request: Request<Body>) -> Response<Body> {
    let key = derive_accept_key(request.headers()["sec-websocket-key"].as_bytes());
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        let stream = TokioIo::new(upgrade.await.unwrap());
        let mut socket = WebSocketStream::from_raw_socket(stream, Role::Server, None).await;
        while let Some(Ok(message)) = socket.next().await {
            if !message.is_close() {
                socket.send(message).await.unwrap();
            }
        }
    });
    Response::builder()
        .status(StatusCode::SWITCHING_PROTOCOLS)
        .header("connection", "upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-accept", key)
        .body(Body::empty())
        .unwrap()
}

/// A piece, then trailers.
struct WithTrailers(u8);

impl HttpBody for WithTrailers {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0 += 1;
        let trailers = || HeaderMap::from_iter([("x-sum".parse().unwrap(), "42".parse().unwrap())]);
        std::task::Poll::Ready(match self.0 {
            1 => Some(Ok(Frame::data(Bytes::from_static(b"here")))),
            2 => Some(Ok(Frame::trailers(trailers()))),
            _ => None,
        })
    }
}

/// So many bytes.
struct Large(usize);

impl HttpBody for Large {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        static PIECE: [u8; 64 * 1024] = [b'x'; 64 * 1024];
        let Some(rest) = self.0.checked_sub(PIECE.len()) else { return std::task::Poll::Ready(None) };
        self.0 = rest;
        std::task::Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&PIECE)))))
    }
}
