//! The envelopes that users have shown. For now whatever could be one is taken, and nothing is kept.

/// The memory.
pub(crate) struct Envelopes;

/// Why an envelope is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum OfferError {
    /// It has expired.
    #[expect(dead_code, reason = "the proxy will be asked")]
    #[error("share expired")]
    Expired,
    /// Everything else that is wrong with it.
    #[error("share rejected")]
    Rejected,
    /// The proxy does not say.
    #[expect(dead_code, reason = "the proxy will be asked")]
    #[error("the proxy cannot be asked")]
    Unavailable,
}

impl Envelopes {
    /// Remembers an envelope once the proxy has found it good for this user.
    #[expect(clippy::unused_async, reason = "the proxy will be asked")]
    pub(crate) async fn offer(&self, user: &str, envelope: &str) -> Result<(), OfferError> {
        let short = user.len() <= 1024 && envelope.len() <= trefoil_keys::envelope::MAX_LENGTH;
        let printable = envelope.bytes().all(|byte| byte.is_ascii_graphic());
        if short && printable { Ok(()) } else { Err(OfferError::Rejected) }
    }
}
