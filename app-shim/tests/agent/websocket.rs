//! WebSockets, with a library for both ends.

use crate::agent::{Agent, LIMIT, open};
use crate::curl::curl;
use crate::origin::Origin;
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::client_async;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::{Bytes, Message};
use trefoil_keys::envelope::Scope;

fn echo(agent: &Agent, origin_field: Option<&str>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let stream = TcpStream::connect(agent.address).await.unwrap();
        let mut request = format!("ws://{}/socket", agent.address).into_client_request().unwrap();
        if let Some(field) = origin_field {
            request.headers_mut().insert("origin", field.parse().unwrap());
        }
        let (mut socket, _) = timeout(LIMIT, client_async(request, stream)).await.unwrap().unwrap();
        for message in [Message::text("hello"), Message::binary(Bytes::from(vec![7; 1 << 20]))] {
            socket.send(message.clone()).await.unwrap();
            assert_eq!(timeout(LIMIT, socket.next()).await.unwrap().unwrap().unwrap(), message);
        }
        socket.close(None).await.unwrap();
        while let Some(message) = timeout(LIMIT, socket.next()).await.unwrap() {
            assert!(message.unwrap().is_close());
        }
    });
}

#[test]
fn a_websocket_is_a_tunnel_and_its_first_request_is_as_any() {
    for scheme in ["http", "https"] {
        let origin = Origin::start_as(scheme);
        let agent = Agent::start(&origin);
        echo(&agent, Some(&agent.url("")));
        let seen = origin.last();
        assert!(!seen.http2);
        assert_eq!(open(seen.field("trefoil-envelope").unwrap()).scope, Scope::Read);
        // Browsers let every page open one: what it gets is what counts.
        echo(&agent, Some("https://evil.example"));
        assert_eq!(origin.last().field("trefoil-envelope"), None);
    }
}

#[test]
fn no_other_protocol_is_changed_to() {
    let origin = Origin::start();
    let agent = Agent::start(&origin);
    let answer = curl(&["--http2", &agent.url("/")]);
    assert_eq!((answer.status, answer.http2), (200, false));
    let seen = origin.last();
    assert!(!["upgrade", "connection", "http2-settings"].iter().any(|name| seen.headers.contains_key(*name)));
}
