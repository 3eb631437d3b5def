//! `password-hash`: the hash of a password that the tenant chooses, for `init --password-hash` of proxy and
//! sidecar, whose operators then never see the password.

use crate::answer::Answer;
use crate::commands::CommandError;
use clap::Args;
use serde::Serialize;
use std::fmt;
use trefoil_keys::password::PasswordHash;

#[derive(Args)]
pub(crate) struct PasswordHashArguments {
    /// Read the password from this file descriptor instead of asking for it twice.
    #[arg(long, value_name = "N")]
    password_fd: Option<u32>,
}

pub(crate) fn run(arguments: &PasswordHashArguments) -> Result<Answer, CommandError> {
    let password = trefoil_passphrase::chosen_password(arguments.password_fd)?;
    Ok(Answer::new(&Hashed { hash: PasswordHash::new(&password) }))
}

#[derive(Serialize)]
#[serde(tag = "result", rename = "password_hashed")]
struct Hashed {
    hash: PasswordHash,
}

impl fmt::Display for Hashed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.hash)
    }
}
