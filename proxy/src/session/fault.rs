//! How a message can fail: alone, or with the whole session.

use crate::error::{ClientError, sqlstate};
use crate::wire::Malformed;

/// Why a message is not done.
pub(super) enum Fault {
    /// The statement is refused; the session goes on.
    Refused(ClientError),
    /// The session ends with this, as FATAL.
    Fatal(ClientError),
    /// Fatal too, because the catalog that plans are made by is not the server's any more.
    Stale(ClientError),
}

impl From<ClientError> for Fault {
    fn from(error: ClientError) -> Self {
        Self::Refused(error)
    }
}

impl From<Malformed> for Fault {
    fn from(malformed: Malformed) -> Self {
        Self::Fatal(ClientError::new(sqlstate::PROTOCOL_VIOLATION, malformed.to_string(), ""))
    }
}

impl Fault {
    /// The server did what the protocol does not allow, or this proxy does not understand.
    pub(super) fn server(what: &str) -> Self {
        Self::Fatal(ClientError::new(sqlstate::PROTOCOL_VIOLATION, format!("unexpected reply: {what}"), ""))
    }

    /// What the client is told.
    pub(super) fn into_client_error(self) -> ClientError {
        let (Self::Refused(error) | Self::Fatal(error) | Self::Stale(error)) = self;
        error
    }

    /// What is told of it.
    pub(super) fn error(&self) -> &ClientError {
        match self {
            Self::Refused(error) | Self::Fatal(error) | Self::Stale(error) => error,
        }
    }

    /// The same, as the end of the session.
    pub(super) fn into_fatal(self) -> Self {
        match self {
            Self::Refused(error) => Self::Fatal(error),
            fatal => fatal,
        }
    }
}
