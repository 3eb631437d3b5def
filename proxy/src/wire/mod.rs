//! PostgreSQL's frontend/backend protocol 3 as bytes: framing, checked reads, builders for what the
//! proxy says itself, and views of the messages that it rewrites. Whatever is not decoded here
//! stays opaque. No length is believed before it is checked, and nothing here panics.

pub mod authentication;
pub mod backend;
pub mod bind;
pub mod frame;
pub mod frontend;
pub mod reader;
pub mod rows;
pub mod startup;
pub mod writer;

use thiserror::Error;

/// Why bytes are no message. The text says which field, never what stood in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Malformed {
    /// A message length below 4, or one that is not allowed for this message.
    #[error("invalid message length")]
    Length,
    /// The message ends inside of the field named.
    #[error("message ends within its {0}")]
    Short(&'static str),
    /// Bytes are left behind the last field.
    #[error("message has bytes behind its last field")]
    Trailing,
    /// A count or length is negative, or a field has a value that it cannot have.
    #[error("invalid {0} in message")]
    Field(&'static str),
    /// More bytes than the proxy holds for a message that it has to understand.
    #[error("message is longer than the proxy accepts")]
    TooLong,
}
