//! The proxy binds its SCRAM to the database's certificate: somebody between, with another certificate of
//! the same authority in the same name, does not get through.

use super::{Options, PASSWORD, Proxy, explain, setting, tls};
use crate::shared::cluster;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use trefoil_link::{Accepted, Address, ClientTls, ServedTls, Source, Stream, Trust, accept, connect};
use trefoil_tests::authority::Certified;

/// Somebody between proxy and database, and what is said to the database.
struct Between {
    port: u16,
    heard: Arc<Mutex<Vec<u8>>>,
    _runtime: tokio::runtime::Runtime,
}

impl Between {
    fn start() -> Self {
        let Certified { certificate, key } = setting().authority.certify(&["127.0.0.1"]).unwrap();
        let served =
            ServedTls::new(Source::Files { certificate, key }, None, false, &[b"postgresql"]).unwrap();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let port = listener.local_addr().unwrap().port();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let told = Arc::clone(&heard);
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (offer, told) = (served.offer(), Arc::clone(&told));
                tokio::spawn(async move {
                    if let Ok(accepted) = accept(Stream::Tcp(stream), Some(offer)).await {
                        pass_on(accepted, &told).await;
                    }
                });
            }
        });
        Self { port, heard, _runtime: runtime }
    }

    fn heard(&self, text: &str) -> bool {
        memchr::memmem::find(&self.heard.lock().unwrap(), text.as_bytes()).is_some()
    }
}

async fn pass_on(accepted: Accepted, told: &Mutex<Vec<u8>>) {
    let trust = Trust::Authority(setting().authority.file());
    let tls = ClientTls::new("127.0.0.1", &trust, None, false).unwrap();
    let address = Address::new("127.0.0.1", cluster().endpoint().port);
    let mut server = connect(&address, Some(&tls)).await.unwrap();
    server.write_all(&accepted.packet).await.unwrap();
    server.flush().await.unwrap();
    let mut client = accepted.stream;
    let (mut up, mut down) = ([0; 4096], [0; 4096]);
    loop {
        let (to, bytes) = tokio::select! {
            Ok(count @ 1..) = client.read(&mut up) => {
                told.lock().unwrap().extend_from_slice(&up[..count]);
                (&mut server, &up[..count])
            }
            Ok(count @ 1..) = server.read(&mut down) => (&mut client, &down[..count]),
            else => return,
        };
        if to.write_all(bytes).await.is_err() || to.flush().await.is_err() {
            return;
        }
    }
}

#[test]
fn who_stands_between_with_a_certificate_of_the_same_authority_gets_no_session() {
    let between = Between::start();
    let ca = setting().authority.file();
    let upstream = tls(&ca);
    let options = Options { upstream: Some(&upstream), port: Some(between.port), ..Options::default() };
    let proxy = Proxy::start(&options);
    // It passes for the database, which is why only what is bound helps.
    let says = proxy.role("auth_password", "wrong").unwrap_err();
    assert!(says.contains("password authentication failed"), "{says}");
    assert!(between.heard("wrong"));

    let says = proxy.role("auth_tls", PASSWORD).unwrap_err();
    assert!(says.contains("SCRAM channel binding check failed"), "{says}");
    assert!(between.heard("SCRAM-SHA-256-PLUS\0\0\0") && between.heard("p=tls-server-end-point,,"));

    // So does the login for the catalogs.
    let url = format!("postgresql://auth_tls@127.0.0.1:{}/postgres?sslmode=require", between.port);
    let ca = ["--ca", ca.to_str().unwrap()];
    let says = explain(&url, &ca);
    assert!(says.contains("SCRAM channel binding check failed"), "{says}");
    let says = explain(&url.replace(&between.port.to_string(), &cluster().endpoint().port.to_string()), &ca);
    assert!(!says.contains("SCRAM") && !says.contains("error"), "{says}");
    assert!(!between.heard(PASSWORD));
}
