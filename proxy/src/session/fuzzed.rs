//! What fuzzing and benchmarks reach of the session: the first packet, and the state machine without sockets,
//! server and catalog loading. What the sockets' loop does with a turn is done here without them.

use super::carriers::Presented;
use super::door::Door;
use super::startup::{self, Wish};
use super::state::{State, Turn};
use super::{Environment, Plans};
use crate::authentication::{Authentication, Files};
use crate::policy::{Policy, catalog::Catalog};
use crate::shares::Shares;
use crate::upstream::{CatalogCell, Catalogs, Server};
use std::sync::Arc;
use std::time::Duration;
use trefoil_keys::carrier::Carriers;
use trefoil_keys::tls::SelfSigned;
use trefoil_link::{Address, ServedTls, Source};

/// What a whole first packet becomes for the server; `None` if it is refused.
pub fn first(packet: &[u8]) -> Option<Vec<u8>> {
    match startup::first(packet) {
        Wish::Cancel(packet) => Some(packet),
        Wish::Session(begin) => begin.packet(&begin.user).ok().map(|packet| packet.to_vec()),
        Wish::Refused(_) => None,
    }
}

/// What all sessions share: a database with this catalog, whatever is asked for.
pub struct Setting {
    environment: Arc<Environment>,
    cell: Arc<CatalogCell>,
}

impl Setting {
    /// With small limits, so that they are met.
    pub fn new(
        policy: &Arc<Policy>,
        catalog: &Arc<Catalog>,
        shares: &Arc<Shares>,
    ) -> Result<Self, Box<dyn std::error::Error>> {
        let login = tokio_postgres::Config::new();
        let server = Arc::new(Server::new(Address::new("/nowhere", 1), None)?);
        let catalogs =
            Catalogs::new(Arc::clone(&server), login, Arc::clone(policy), Arc::clone(shares), None);
        let cell = catalogs.cell("d");
        cell.current.store(Arc::clone(catalog));
        let own = SelfSigned::generate(&["localhost".to_owned()])?;
        let environment = Environment {
            plans: Plans::new(Arc::clone(policy), 1 << 20, true),
            shares: Arc::clone(shares),
            catalogs: Arc::new(catalogs),
            door: Door {
                tls: Arc::new(ServedTls::new(Source::Own(own), None, false, &[b"postgresql"])?),
                tls_required: true,
                patience: Duration::from_secs(60),
            },
            server,
            authentication: Arc::new(Authentication::load(Files::default())?),
            max_message: 1 << 16,
            max_statements: 3,
            max_portals: 3,
            audit: None,
        };
        Ok(Self { environment: Arc::new(environment), cell })
    }
}

/// A session whose client has logged in.
pub struct Machine(State);

impl Machine {
    /// With what the client has brought in its first packet.
    pub fn new(setting: &Setting, extension: bool, carriers: Carriers) -> Self {
        let presented = Presented::new(extension, carriers);
        let mut state = State::new(Arc::clone(&setting.environment), presented, None);
        state.schema.open(Arc::clone(&setting.cell));
        state.begun = true;
        Self(state)
    }

    /// Takes the client's bytes off `input`; false once the session has ended.
    pub fn frontend(&mut self, input: &mut Vec<u8>, out: &mut Vec<u8>) -> bool {
        loop {
            let (consumed, turn) = self.0.frontend(input, out);
            input.drain(..consumed);
            match turn {
                Ok(Turn::Reload) => {}
                Ok(Turn::More | Turn::Blocked | Turn::Recording) => return true,
                Ok(Turn::Terminated) | Err(_) => return false,
            }
        }
    }

    /// Takes the server's bytes off `input`; false once the session has ended.
    pub fn backend(&mut self, input: &mut Vec<u8>, out: &mut Vec<u8>) -> bool {
        loop {
            let (consumed, turn) = self.0.backend(input, out);
            input.drain(..consumed);
            match turn {
                Ok(Turn::Reload) => self.0.schema.reloaded(),
                Ok(Turn::More | Turn::Blocked | Turn::Recording) => return true,
                Ok(Turn::Terminated) | Err(_) => return false,
            }
        }
    }
}
