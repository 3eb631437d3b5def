//! Files that a person locks with a passphrase, and where passphrases and passwords come from: for the
//! tenant admin's vault, and for a user's share.

mod lock;
mod source;

pub use age::secrecy::{ExposeSecret, SecretString};
pub use lock::{LockError, MAX_WORK_FACTOR, is_locked, lock, unlock};
pub use source::{Passphrase, SecretError, Use, chosen_password, new_passphrase, password};
