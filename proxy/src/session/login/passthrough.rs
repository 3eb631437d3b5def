//! Logins with the password of a client that has not shown who it is. Those that are under way hold a
//! bounded number of connections to the database, each only while the database is heard: whoever has been
//! asked for a password, and does not give it at once, holds none. (libpq does the same when it is asked
//! for a password that it does not have.)

use super::server::{self, Attempt, Outcome, Password};
use super::{Begin, Ended, Guess, client, unless_left};
use crate::session::socket::Side;
use crate::upstream::Server;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, LazyLock, Mutex, PoisonError, Weak};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};
use tokio::time::{Instant, sleep_until, timeout};

/// How many may be under way.
const LOGINS: usize = 16;
/// Of them, from one network.
const LOGINS_OF_ONE: usize = LOGINS / 4;
/// Of them, those that nobody makes wait for a client's password.
const QUICK: usize = LOGINS / 2;
/// How long the database is kept waiting for it, when there are few. Programs have it at hand.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long a database is waited for that is to answer to a password whose client has left.
const LINGER: Duration = Duration::from_secs(60);

static TURNS: Semaphore = Semaphore::const_new(LOGINS);

/// Of networks from which somebody logs in.
static TURNS_OF_ONE: LazyLock<Mutex<HashMap<Option<IpAddr>, Weak<Semaphore>>>> =
    LazyLock::new(Mutex::default);

/// A login that is under way.
struct Turn {
    _of_one: Option<OwnedSemaphorePermit>,
    _of_all: Option<SemaphorePermit<'static>>,
}

impl Turn {
    async fn take(network: Option<IpAddr>) -> Self {
        let own = {
            let mut networks = TURNS_OF_ONE.lock().unwrap_or_else(PoisonError::into_inner);
            networks.retain(|_, turns| turns.strong_count() > 0);
            let known = networks.get(&network).and_then(Weak::upgrade);
            known.unwrap_or_else(|| {
                let turns = Arc::new(Semaphore::new(LOGINS_OF_ONE));
                networks.insert(network, Arc::downgrade(&turns));
                turns
            })
        };
        // Neither is ever closed.
        Self { _of_one: own.acquire_owned().await.ok(), _of_all: TURNS.acquire().await.ok() }
    }
}

/// Logs in at the database as the user whom the client names. Asks the client for a password if the
/// database asks for one.
pub(super) async fn log_in(
    client: &mut Side,
    begin: &Begin,
    server: &Server,
    guess: &Guess<'_>,
) -> Result<Side, Ended> {
    let mut turn = unless_left(client, Turn::take(guess.network)).await?;
    let begins = guess.turn()?;
    if begins > Instant::now() {
        drop(turn);
        unless_left(client, sleep_until(begins)).await?;
        turn = unless_left(client, Turn::take(guess.network)).await?;
    }
    let patience = if TURNS.available_permits() < QUICK { Duration::ZERO } else { PATIENCE };
    let mut password = Password::OfClient(patience);
    loop {
        let mut connection = server::connect(server, begin, &begin.user, client).await?;
        let (knows_the_proxy, judged) = (server.knows_the_proxy(), &guess.judged);
        let attempt = Attempt { role: &begin.user, password, user: &begin.user, knows_the_proxy, judged };
        let asked = match server::log_in(&mut connection, client, &attempt).await {
            Ok(Outcome::Done) => return Ok(connection),
            Ok(Outcome::Asked(asked)) => asked,
            Err(Ended::Left) if guess.judged.load(Ordering::Relaxed) => {
                // The database may take its time over it, and has one connection less until then.
                tokio::spawn(async move {
                    timeout(LINGER, connection.left()).await.ok();
                    drop((connection, turn));
                });
                return Err(Ended::Left);
            }
            Err(error) => return Err(error),
        };
        drop((connection, turn));
        password = Password::Answered(client::password(client).await?, asked);
        turn = unless_left(client, Turn::take(guess.network)).await?;
    }
}
