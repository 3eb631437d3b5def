//! Whose shares go with a request: the application's, and the envelope that the application names, that
//! its user has shown at the second door, or that the shim makes itself when it acts for one user.

use crate::act_for::ActFor;
use crate::envelopes::Memory;
use crate::settings::Who;
use crate::tka::ApplicationShares;
use std::time::Instant;
use trefoil_keys::carrier::{MalformedCarrier, message::KeyMessage};

/// The shares of all connections.
pub(crate) struct Shares {
    /// The application's.
    pub(crate) application: ApplicationShares,
    /// The users' envelopes that came by the second door.
    pub(crate) remembered: Memory,
    /// The user to act for.
    pub(crate) act_for: Option<ActFor>,
}

/// What a connection's proxy has been sent.
#[derive(Default)]
pub(crate) struct Sent {
    /// Whether the request that is under way has had its message.
    pub(crate) in_request: bool,
    user: String,
    envelope: String,
}

/// Whose shares a request needs, and what for.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Asks {
    /// The user.
    pub(crate) who: Who,
    /// The envelope that the application has brought itself.
    pub(crate) envelope: Option<String>,
    /// Whether the request plainly reads.
    pub(crate) reads: bool,
}

impl Shares {
    /// Appends the `K` message of a request, unless this request has had the same already. Without an
    /// envelope it is empty, so that the last one is not used again.
    pub(crate) fn attach(
        &self,
        asks: &Asks,
        sent: &mut Sent,
        out: &mut Vec<u8>,
    ) -> Result<(), MalformedCarrier> {
        let own;
        let (user, envelope) = match (&asks.who, &asks.envelope, &self.act_for) {
            (Who::Unclear, ..) | (Who::Unnamed, Some(_), _) => ("", ""),
            (Who::User(user), Some(envelope), _) => (user.as_str(), envelope.as_str()),
            (who, None, Some(act_for)) if who.is_unnamed_or(act_for.user()) => {
                own = act_for.envelope();
                (act_for.user(), own.as_deref().unwrap_or_default())
            }
            (Who::User(user), None, _) => {
                own = self.remembered.choose(user, asks.reads, Instant::now());
                own.as_deref().map_or(("", ""), |envelope| (user.as_str(), envelope))
            }
            (Who::Unnamed, None, _) => ("", ""),
        };
        let known = sent.envelope == envelope || envelope.is_empty();
        if sent.in_request && known && sent.user == user {
            return Ok(());
        }
        let envelope_sent = if known { "" } else { envelope };
        self.application
            .of(user, |app_share| KeyMessage { user, envelope: envelope_sent, app_share }.encode(out))?;
        user.clone_into(&mut sent.user);
        if !known {
            envelope.clone_into(&mut sent.envelope);
        }
        sent.in_request = true;
        Ok(())
    }
}
