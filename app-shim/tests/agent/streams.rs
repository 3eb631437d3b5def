//! Bodies go through as they come, in both directions at once, and need no room.

use crate::agent::{Agent, LIMIT};
use crate::curl::curl;
use crate::origin::{Origin, next};
use axum::body::{Body, Bytes, HttpBody};
use axum::http::header::HeaderMap;
use axum::http::{Request, Response};
use http_body::Frame;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::process::Command;
use std::task::{Context, Poll};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::timeout;

/// A body of what is sent to it.
struct Pieces(mpsc::UnboundedReceiver<Frame<Bytes>>);

impl HttpBody for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(context).map(|frame| frame.map(Ok))
    }
}

fn request(agent: &Agent, path: &str) -> (Request<Body>, mpsc::UnboundedSender<Frame<Bytes>>) {
    let (sender, receiver) = mpsc::unbounded_channel();
    // HTTP/1.1 sends only those that are announced.
    let request = Request::post(agent.url(path))
        .header("te", "trailers")
        .header("trailer", "x-sum, trefoil-envelope")
        .body(Body::new(Pieces(receiver)))
        .unwrap();
    (request, sender)
}

async fn send(address: SocketAddr, http2: bool, mut request: Request<Body>) -> Response<Body> {
    let stream = TokioIo::new(TcpStream::connect(address).await.unwrap());
    if http2 {
        let (mut sender, connection) = http2::handshake(TokioExecutor::new(), stream).await.unwrap();
        tokio::spawn(connection);
        return sender.send_request(request).await.unwrap().map(Body::new);
    }
    let host = request.uri().authority().unwrap().as_str().parse().unwrap();
    request.headers_mut().insert("host", host);
    *request.uri_mut() = request.uri().path_and_query().unwrap().as_str().parse().unwrap();
    let (mut sender, connection) = http1::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    sender.send_request(request).await.unwrap().map(Body::new)
}

fn run<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async { timeout(LIMIT, future).await.expect("in time") })
}

#[test]
fn each_piece_is_there_before_the_next_one_is_sent() {
    for scheme in ["http", "h2c", "https"] {
        let origin = Origin::start_as(scheme);
        let agent = Agent::start(&origin);
        for http2 in [false, true] {
            let (request, pieces) = request(&agent, "/stream");
            run(async {
                let mut body = send(agent.address, http2, request).await.into_body();
                for piece in ["one", "two", "three"] {
                    pieces.send(Frame::data(Bytes::from(piece))).unwrap();
                    let echo = next(&mut body).await.unwrap().into_data().unwrap();
                    assert_eq!(echo, piece, "{scheme} {http2}");
                }
                drop(pieces);
                assert!(
                    next(&mut body).await.is_none_or(|frame| frame.into_data().is_ok_and(|d| d.is_empty()))
                );
            });
        }
    }
}

#[test]
fn trailers_go_through_without_carriers() {
    for scheme in ["http", "h2c"] {
        let origin = Origin::start_as(scheme);
        let agent = Agent::start(&origin);
        for http2 in [false, true] {
            let (request, pieces) = request(&agent, "/trailers");
            let field = |(name, value): (&str, &str)| (name.parse().unwrap(), value.parse().unwrap());
            let trailers: HeaderMap =
                [("x-sum", "7"), ("trefoil-envelope", "forged")].map(field).into_iter().collect();
            pieces.send(Frame::data(Bytes::from("x"))).unwrap();
            pieces.send(Frame::trailers(trailers)).unwrap();
            drop(pieces);
            run(async {
                let mut body = send(agent.address, http2, request).await.into_body();
                assert_eq!(next(&mut body).await.unwrap().into_data().unwrap(), "here");
                if scheme == "h2c" && http2 {
                    assert_eq!(next(&mut body).await.unwrap().into_trailers().unwrap()["x-sum"], "42");
                }
            });
            let seen = origin.last();
            assert_eq!(
                seen.trailers.get("x-sum").map(|sum| sum.as_bytes()),
                Some(&b"7"[..]),
                "{scheme} {http2}"
            );
            assert_eq!(seen.trailers.get("trefoil-envelope"), None);
        }
    }
}

#[test]
fn a_large_body_needs_no_room() {
    let origin = Origin::start();
    let agent = Agent::start(&origin);
    let file = agent.path("large");
    std::fs::File::create(&file).unwrap().set_len(100 << 20).unwrap();
    curl(&[&agent.url("/")]);
    let before = agent.peak();
    for version in ["--http1.1", "--http2-prior-knowledge"] {
        curl(&[version, "-T", file.to_str().unwrap(), &agent.url("/")]);
        assert_eq!(origin.last().body, 100 << 20);
        let output = Command::new("curl")
            .args(["-sS", "--noproxy", "*", version, "-o", "/dev/null", "-w", "%{size_download}"])
            .arg(agent.url("/large"))
            .output()
            .unwrap();
        assert_eq!(String::from_utf8(output.stdout).unwrap(), (100 << 20).to_string());
    }
    let grown = agent.peak() - before;
    assert!(grown < 24 * 1024, "{grown} KiB");
}
