//! Logins with the password of a client that has not shown who it is. Those that are under way hold a
//! bounded number of connections to the database, each only while the database is heard: whoever has been
//! asked for a password, and does not give it at once, holds none. (libpq does the same when it is asked
//! for a password that it does not have.)

use super::server::{self, Attempt, Outcome, Password};
use super::{Begin, Ended, client, unless_left};
use crate::session::socket::Side;
use crate::upstream::Server;
use std::time::Duration;
use tokio::sync::Semaphore;

/// How many may be under way.
const LOGINS: usize = 16;
/// Of them, those that nobody makes wait for a client's password.
const QUICK: usize = LOGINS / 2;
/// How long the database is kept waiting for it, when there are few. Programs have it at hand.
const PATIENCE: Duration = Duration::from_secs(1);

static TURNS: Semaphore = Semaphore::const_new(LOGINS);

/// Logs in at the database as the user whom the client names. Asks the client for a password if the
/// database asks for one.
pub(super) async fn log_in(client: &mut Side, begin: &Begin, server: &Server) -> Result<Side, Ended> {
    let mut answer = None;
    loop {
        let turn = unless_left(client, TURNS.acquire()).await?;
        let mut connection = server::connect(server, begin, &begin.user, client).await?;
        let password = match answer.take() {
            Some(password) => Password::Answered(password),
            None if TURNS.available_permits() < QUICK => Password::OfClient(Duration::ZERO),
            None => Password::OfClient(PATIENCE),
        };
        let knows_the_proxy = server.knows_the_proxy();
        let attempt = Attempt { role: &begin.user, password, user: &begin.user, knows_the_proxy };
        match server::log_in(&mut connection, client, &attempt).await? {
            Outcome::Done => return Ok(connection),
            Outcome::Asked => drop((connection, turn)),
        }
        answer = Some(client::password(client).await?);
    }
}
