//! Why a share is not accepted: in full for the operator's log, uniform for the client.

use crate::error::{ClientError, Code};
use serde::Serialize;
use trefoil_keys::NoRoom;
use trefoil_keys::envelope::{EnvelopeError, Reason};

/// The reason, without any data of the envelope.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Rejection {
    #[error("envelope: {0}")]
    Envelope(Reason),
    #[error("the envelope is another user's")]
    Subject,
    #[error("the envelope is for an application that this proxy does not serve")]
    Audience,
    #[error("the envelope is from the future")]
    Future,
    #[error("the envelope has expired")]
    Expired,
    #[error("the user is withdrawn or unknown")]
    User,
    #[error("no share of the application for a keyspace of the envelope")]
    ApplicationShare,
    #[error("no share of the proxy for the keyspace and epoch")]
    Keyspace,
    #[error("the shares do not give the tenant key")]
    CheckValue,
    #[error("the envelope has been used as often as it may")]
    Used,
    #[error("the envelope is of limited use and from before the proxy's start: its uses are not known")]
    Uncounted,
    #[error("too many live envelopes, or no memory for their shares")]
    Full,
}

impl From<EnvelopeError> for Rejection {
    fn from(error: EnvelopeError) -> Self {
        match error {
            EnvelopeError::Rejected(reason) => Self::Envelope(reason),
            EnvelopeError::Unsealable | EnvelopeError::Key => Self::Envelope(Reason::Unwrap),
        }
    }
}

impl From<NoRoom> for Rejection {
    fn from(_: NoRoom) -> Self {
        Self::Full
    }
}

impl From<Rejection> for ClientError {
    fn from(rejection: Rejection) -> Self {
        match rejection {
            Rejection::Expired => Self::refused(
                Code::ShareExpired,
                "share expired",
                "Send a new user envelope; the user's agent makes one.",
            ),
            Rejection::Full => Self::new(
                "53000",
                "too many live user envelopes",
                "Try again when some have expired; let agents reuse an envelope until it expires.",
            ),
            _ => Self::refused(
                Code::ShareRejected,
                "share rejected",
                "Send the user, a fresh user envelope and the application's share that belong together; \
                 the proxy's log says which check failed.",
            ),
        }
    }
}

/// Characters of a claimed UId that are shown.
const SHOWN: usize = 128;

/// What the audit log gets of a rejection.
#[derive(Serialize)]
pub(super) struct Record {
    /// Who is claimed to ask.
    user: String,
    reason: String,
    outcome: &'static str,
}

impl Rejection {
    /// For the audit log.
    pub(super) fn record(self, user: &str) -> Record {
        let outcome = if self == Self::Expired { "expired" } else { "rejected" };
        Record { user: user.chars().take(SHOWN).collect(), reason: self.to_string(), outcome }
    }

    /// Logs the reason beside the user that the request names, and gives what the client is told.
    pub(super) fn logged(self, user: &str) -> ClientError {
        let user: String = user.chars().take(SHOWN).collect();
        tracing::info!(?user, reason = %self, "share not accepted");
        self.into()
    }
}
