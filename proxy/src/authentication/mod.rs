//! Who may log in, and how: the rules of `hba_file`, the maps of `ident_file`, the verifiers and the
//! credentials of `users_file`. They are read together, and hold together or not at all.

mod command;
#[cfg(any(test, fuzzing))]
pub mod fuzzed;
mod hba;
mod ident;
mod rules;
mod scram;
mod tokens;
mod tries;
mod users;
mod verifier;

pub use command::ScramVerifierArguments;
pub use command::run as scram_verifier;
pub use hba::{ClientCertificate, Connection, Method, Rule};
pub use rules::{Authentication, AuthenticationError, Files, Rules};
pub use scram::{Binding, Mechanism, ScramError, Server as ScramServer};
pub use tokens::SyntaxError;
pub use tries::Tries;
pub use users::{Credential, UsersError};
pub use verifier::{MalformedVerifier, Verifier};
