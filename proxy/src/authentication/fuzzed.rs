//! What fuzzing reaches of the files: their texts, without files.

use super::hba;
use super::ident::Maps;
use super::users::{Users, UsersError};
use std::path::Path;

/// Whether these are lines of an `hba_file`.
pub fn rules(text: &str) -> bool {
    hba::parse(text, Path::new("hba_file")).is_ok()
}

/// Whether these are lines of an `ident_file`; if so, asks the maps.
pub fn maps(text: &str) -> bool {
    Maps::parse(text, Path::new("ident_file")).is_ok_and(|maps| {
        maps.allow(Some("m"), "alice@example.org", b"alice");
        true
    })
}

/// Whether this is a `users_file`.
///
/// # Errors
/// Why it is no TOML, or says something else than it may.
pub fn users(text: &[u8]) -> Result<(), UsersError> {
    Users::parse(text, Path::new("users_file")).map(|_| ())
}
