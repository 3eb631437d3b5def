//! The first packet of a client, and what the session makes of it.

use trefoil_proxy::session::fuzzed;
use trefoil_proxy::wire::startup::{self, First};

/// Reads a packet; what goes on to the server has nothing more to take off.
pub fn run(data: &[u8]) -> bool {
    if let Ok(First::Start(packet)) = First::decode(data) {
        let mut parameters = packet.parameters();
        let mut pairs = Vec::new();
        while let Some(pair) = parameters.next_pair().expect("it was read once") {
            pairs.push(pair);
        }
        let mut out = Vec::new();
        startup::encode(packet.version(), pairs, &mut out).expect("it was a packet");
        assert_eq!(out.get(4..), data.get(4..));
    }
    let Some(packet) = fuzzed::first(data) else { return false };
    assert_eq!(fuzzed::first(&packet), Some(packet), "a carrier goes on");
    true
}

/// Of versions 3.0 and 3.2, with each form of carrier.
pub fn seeds() -> Vec<Vec<u8>> {
    [
        &b"\0\x03\0\0user\0a\0database\0d\0\0"[..],
        b"\0\x03\0\x02user\0a\0_pq_.trefoil\x001\0_pq_.other\0x\0\0",
        b"\0\x03\0\0user\0a\0options\0-c a=1 -c trefoil.user=al\\ ice --trefoil.app-share=s -d 1\0\0",
        b"\0\x03\0\0user\0a\0trefoil.envelope\0e\0replication\0off\0\0",
        b"\x04\xd2\x16\x2e\0\0\0\x01\0\0\0\x02",
    ]
    .into_iter()
    .map(|packet| [&u32::try_from(packet.len() + 4).unwrap_or(0).to_be_bytes()[..], packet].concat())
    .collect()
}
