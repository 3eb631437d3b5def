//! What fuzzing reaches of the sidecar: its first packet, and a session between its buffers, without sockets.

use crate::backend::Backend;
use crate::envelopes::Memory;
use crate::frontend::{Frontend, Need};
use crate::shares::Shares;
use crate::startup::{self, Packet};
use crate::tka::ApplicationShares;
use crate::user_from::UserFrom;
use bytes::BytesMut;
use std::sync::Arc;

/// A session whose server has been asked for it.
pub struct Machine {
    frontend: Frontend,
    backend: Backend,
    from_client: BytesMut,
    from_proxy: BytesMut,
}

impl Machine {
    /// From the body of a first packet: the packet for the proxy, and the session. `None` if it asks for no
    /// session, or for none that is given. Users are known in every way; these are all shares of the
    /// application's, by user.
    #[must_use]
    pub fn begin(first: &[u8], shares: &[(&str, &str)], max_message: usize) -> Option<(Vec<u8>, Self)> {
        let from = UserFrom {
            comment: Some("user".to_owned()),
            claim: Some("sub".to_owned()),
            setting: Some("app.who".to_owned()),
            role: true,
            application_name: true,
        };
        let Ok(Packet::Session(packet, beginning)) = startup::read(first, &from) else { return None };
        let owned = shares.iter().map(|(user, share)| ((*user).to_owned(), (*share).to_owned().into()));
        let application = ApplicationShares::new(owned.collect());
        let shares = Shares { application, remembered: Memory::default(), act_for: None };
        let machine = Self {
            frontend: Frontend::new(Arc::new(shares), Arc::new(from), beginning, max_message),
            backend: Backend::default(),
            from_client: BytesMut::new(),
            from_proxy: BytesMut::new(),
        };
        Some((packet, machine))
    }

    /// Takes what has arrived from both ends, and appends what goes to each; false once the session has ended.
    pub fn turn(
        &mut self,
        client: &[u8],
        proxy: &[u8],
        to_proxy: &mut Vec<u8>,
        to_client: &mut Vec<u8>,
    ) -> bool {
        self.from_client.extend_from_slice(client);
        self.from_proxy.extend_from_slice(proxy);
        let Ok(released) = self.backend.scan(&self.from_proxy, &mut self.frontend) else { return false };
        to_client.extend_from_slice(&self.from_proxy.split_to(released));
        loop {
            let mut output = BytesMut::new();
            let need = self.frontend.process(&mut self.from_client, &mut output);
            to_proxy.extend_from_slice(&output);
            match need {
                Ok(Need::Output) => {}
                Ok(Need::Input | Need::Answers) => return true,
                Err(_) => return false,
            }
        }
    }
}
