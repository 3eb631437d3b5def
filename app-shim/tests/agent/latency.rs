//! What the agent and the second door add to a request. Figures, not a test:
//! `cargo test -p trefoil-shim --test agent latency -- --ignored --nocapture`.

use crate::agent::Agent;
use crate::door::Door;
use crate::origin::{Origin, next};
use axum::body::Body;
use axum::http::Request;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;

const WARM: usize = 500;
const REQUESTS: usize = 5000;

/// Median and 99th percentile of requests one after the other on one connection.
fn measure(host: &str) -> [Duration; 2] {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut times = runtime.block_on(async {
        let stream = TcpStream::connect(host).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let mut times = Vec::with_capacity(REQUESTS);
        for number in 0..WARM + REQUESTS {
            let request = Request::get("/").header("host", host).body(Body::empty()).unwrap();
            let start = Instant::now();
            let mut body = sender.send_request(request).await.unwrap().map(Body::new).into_body();
            while next(&mut body).await.is_some() {}
            if number >= WARM {
                times.push(start.elapsed());
            }
            sender.ready().await.unwrap();
        }
        times
    });
    times.sort();
    [times[REQUESTS / 2], times[REQUESTS * 99 / 100]]
}

#[test]
#[ignore = "figures"]
fn latency() {
    let origin = Origin::start();
    let door = Door::open(&origin);
    let (agent, both) = (Agent::start(&origin), Agent::start_before(&door.url, ""));
    let counted = Agent::start_with(&origin, "[[rule]]\npath = '/**'\nmax_uses = 1");
    let door_host = door.url.strip_prefix("http://").unwrap();
    for _ in 0..3 {
        for (name, host) in [
            ("origin alone", origin.address.to_string()),
            ("second door", door_host.to_owned()),
            ("agent", agent.address.to_string()),
            ("agent, envelope each", counted.address.to_string()),
            ("agent and second door", both.address.to_string()),
        ] {
            let [median, last] = measure(&host);
            println!("{name:>22}: median {median:?}, 99 % {last:?}");
        }
    }
}
