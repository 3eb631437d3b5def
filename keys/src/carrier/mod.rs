//! How a user's name, envelope and application share reach the proxy: the shim's own message, a
//! comment on the statement, or settings. Three carriers, the same three values on each. Nothing
//! here looks inside an envelope or a share; values only have to be short and printable.

pub mod app_share;
pub mod comment;
pub mod message;
pub mod options;

use thiserror::Error;
use zeroize::Zeroizing;

/// The settings of carrier 3, by which `SET`, `set_config` and startup parameters name the values.
pub const SETTINGS: [&str; 3] = ["trefoil.user", "trefoil.envelope", "trefoil.app_share"];

/// Longest value of a carrier, in bytes.
pub const MAX_VALUE: usize = 16 * 1024;

/// What a carrier brought. A value that was absent or empty is `None`. No `Debug`, so that none of
/// it is ever logged.
#[derive(Default)]
pub struct Carriers {
    /// The user's id, UId.
    pub user: Option<String>,
    /// The user envelope, a JWE in compact form.
    pub envelope: Option<String>,
    /// The application's shares TKa in their text form.
    pub app_share: Option<Zeroizing<String>>,
}

impl Carriers {
    /// Sets one value by the name of its setting, which PostgreSQL reads in any case; an empty
    /// value unsets it. False if the name does not begin with `trefoil.`; an error if it does and
    /// is none of [`SETTINGS`].
    pub fn set(&mut self, setting: &str, value: &[u8]) -> Result<bool, MalformedCarrier> {
        if !setting.get(..8).is_some_and(|prefix| prefix.eq_ignore_ascii_case("trefoil.")) {
            return Ok(false);
        }
        let [user, envelope, app_share] = SETTINGS;
        let value = Some(checked(value)?).filter(|value| !value.is_empty());
        if setting.eq_ignore_ascii_case(user) {
            self.user = value.map(str::to_owned);
        } else if setting.eq_ignore_ascii_case(envelope) {
            self.envelope = value.map(str::to_owned);
        } else if setting.eq_ignore_ascii_case(app_share) {
            self.app_share = value.map(|value| Zeroizing::new(value.to_owned()));
        } else {
            return Err(MalformedCarrier::UnknownKey);
        }
        Ok(true)
    }
}

/// PostgreSQL's white space.
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c)
}

/// Why a carrier was not understood. The texts name no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum MalformedCarrier {
    /// A value is longer than [`MAX_VALUE`].
    #[error("a trefoil value is longer than 16384 bytes")]
    TooLong,
    /// A value is not UTF-8, or holds a control character.
    #[error("a trefoil value is not printable UTF-8 text")]
    NotPrintable,
    /// `%` without two hexadecimal digits, or `\` before anything but `'`.
    #[error("a trefoil value is not percent-encoded as SQLCommenter writes it")]
    Encoding,
    /// A `trefoil_` key or `trefoil.` setting that is none of the three.
    #[error("trefoil knows no names but user, envelope and app_share")]
    UnknownKey,
    /// One key twice.
    #[error("a trefoil key appears twice")]
    Duplicate,
    /// A share or envelope is spoken of where it cannot be taken off: outside of the statement's
    /// first and last comment, or in an unusual form.
    #[error("a trefoil envelope or app_share is named where it cannot be taken off")]
    Elsewhere,
    /// Shares that are not `keyspace:share,keyspace:share`.
    #[error("the application shares are not written as keyspace:share,keyspace:share")]
    AppShare,
    /// No guarded memory is left for shares.
    #[error("no protected memory is left for shares: RLIMIT_MEMLOCK may be too low")]
    NoRoom,
    /// The message's lengths do not agree with its size.
    #[error("the trefoil message is cut short or too long")]
    Framing,
}

/// Checks a value as every carrier does: short, UTF-8, no control characters (so no NUL either).
pub fn checked(value: &[u8]) -> Result<&str, MalformedCarrier> {
    if value.len() > MAX_VALUE {
        return Err(MalformedCarrier::TooLong);
    }
    let text = str::from_utf8(value).map_err(|_| MalformedCarrier::NotPrintable)?;
    if text.chars().any(char::is_control) { Err(MalformedCarrier::NotPrintable) } else { Ok(text) }
}
