//! The three files together, as they were last read, and what they say of a client.

use super::hba::{self, Connection, Method, Rule};
use super::ident::Maps;
use super::scram::{self, Binding, Server};
use super::tokens::SyntaxError;
use super::tries::Tries;
use super::users::{Credential, Users, UsersError};
use super::verifier::HASH;
use arc_swap::ArcSwap;
use rand::Rng as _;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use zeroize::Zeroizing;

/// PostgreSQL's default.
const ITERATIONS: u32 = 4096;

/// Where the files are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Files {
    /// Rules; without them the database is asked, by private links.
    pub hba: Option<PathBuf>,
    /// Which certificates are which users.
    pub ident: Option<PathBuf>,
    /// Verifiers and credentials.
    pub users: Option<PathBuf>,
}

/// Why the files are refused.
#[derive(Debug, thiserror::Error)]
pub enum AuthenticationError {
    /// One cannot be read.
    #[error("cannot read {path}: {reason}")]
    Unreadable {
        /// The file.
        path: String,
        /// Why.
        reason: io::Error,
    },
    /// A line is wrong.
    #[error(transparent)]
    Syntax(#[from] SyntaxError),
    /// The users.
    #[error(transparent)]
    Users(#[from] UsersError),
    /// A rule needs what is in another file.
    #[error("{file}, line {line}: {problem}")]
    Rule {
        /// The file of the rules.
        file: String,
        /// From 1.
        line: usize,
        /// What is missing.
        problem: String,
    },
}

/// Who may log in, and how, now.
pub struct Authentication {
    files: Files,
    /// What unknown users' salts are made from.
    secret: Zeroizing<[u8; HASH]>,
    current: ArcSwap<Rules>,
    /// Whose passwords were wrong of late.
    pub tries: Tries,
}

/// The same as it was at one time.
#[derive(Default)]
pub struct Rules {
    hba: Option<Vec<Rule>>,
    maps: Maps,
    users: Users,
}

impl Authentication {
    /// Reads the files.
    ///
    /// # Errors
    /// [`AuthenticationError`].
    pub fn load(files: Files) -> Result<Self, AuthenticationError> {
        let mut secret = Zeroizing::new([0; HASH]);
        rand::rng().fill_bytes(secret.as_mut_slice());
        let current = ArcSwap::from_pointee(Rules::read(&files)?);
        Ok(Self { files, secret, current, tries: Tries::default() })
    }

    /// Reads the files again. If one is no good, nothing changes.
    ///
    /// # Errors
    /// [`AuthenticationError`].
    pub fn reload(&self) -> Result<(), AuthenticationError> {
        self.current.store(Arc::new(Rules::read(&self.files)?));
        Ok(())
    }

    /// For a client that begins now.
    pub fn rules(&self) -> Arc<Rules> {
        self.current.load_full()
    }

    /// A login by SCRAM; whether the user is known does not show.
    pub fn scram(&self, rules: &Rules, user: &[u8], binding: Binding) -> Server {
        let mock = scram::mock(&self.secret, user, rules.users.iterations.unwrap_or(ITERATIONS));
        let verifier = rules.users.get(user).and_then(|user| user.verifier.clone());
        let known = verifier.is_some();
        Server::new(verifier.unwrap_or(mock), known, binding)
    }
}

impl Rules {
    fn read(files: &Files) -> Result<Self, AuthenticationError> {
        let hba =
            files.hba.as_deref().map(|file| Ok::<_, AuthenticationError>(hba::parse(&read(file)?, file)?));
        let maps =
            files.ident.as_deref().map(|file| Ok::<_, AuthenticationError>(Maps::parse(&read(file)?, file)?));
        let users = files.users.as_deref().map(Users::read);
        let rules = Self {
            hba: hba.transpose()?,
            maps: maps.transpose()?.unwrap_or_default(),
            users: users.transpose()?.unwrap_or_default(),
        };
        for rule in rules.hba.iter().flatten() {
            let problem = match &rule.map {
                Some(map) if !rules.maps.has(map) => format!("there is no map `{map}`; add it to ident_file"),
                _ if rule.method == Method::Scram && files.users.is_none() => {
                    "the method scram needs the verifiers of a users_file".to_owned()
                }
                _ => continue,
            };
            let file = files.hba.as_ref().map(|file| file.display().to_string()).unwrap_or_default();
            return Err(AuthenticationError::Rule { file, line: rule.line, problem });
        }
        Ok(rules)
    }

    /// The rule that counts for a client; none if there is no file of rules.
    pub fn rule(&self, connection: &Connection<'_>) -> Option<Option<&Rule>> {
        let rules = self.hba.as_ref()?;
        Some(rules.iter().find(|rule| rule.fits(connection)))
    }

    /// Whether a certificate in this name is this user's.
    pub fn owns(&self, rule: &Rule, name: &str, user: &[u8]) -> bool {
        self.maps.allow(rule.map.as_deref(), name, user)
    }

    /// As whom the proxy logs in for a user whom it has authenticated.
    pub fn credential(&self, user: &[u8]) -> Credential {
        self.users.get(user).map_or_else(
            || Credential { role: user.to_vec(), password: None },
            |user| user.credential.clone(),
        )
    }
}

fn read(file: &Path) -> Result<String, AuthenticationError> {
    std::fs::read_to_string(file)
        .map_err(|reason| AuthenticationError::Unreadable { path: file.display().to_string(), reason })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_bad_file_changes_nothing_and_the_files_must_fit_each_other() {
        let dir = tempfile::tempdir().unwrap();
        let [hba, ident] = ["hba", "ident"].map(|name| dir.path().join(name));
        fs::write(&hba, "local all all reject\n").unwrap();
        let files = Files { hba: Some(hba.clone()), ident: Some(ident.clone()), users: None };
        let says = Authentication::load(files.clone()).err().unwrap().to_string();
        assert!(says.starts_with("cannot read ") && says.contains("ident"), "{says}");
        fs::write(&ident, "m a b\n").unwrap();
        let authentication = Authentication::load(files).unwrap();
        let connection = Connection { address: None, tls: false, database: b"d", user: b"u" };
        let method = || {
            let rules = authentication.rules();
            rules.rule(&connection).unwrap().map(|rule| rule.method)
        };
        for (text, reason) in [
            ("local all all trust\n", "line 1: `trust`"),
            ("\nhostssl all all all cert map=n\n", "line 2: there is no map `n`"),
            ("local all all scram\n", "line 1: the method scram needs"),
        ] {
            fs::write(&hba, text).unwrap();
            let says = authentication.reload().unwrap_err().to_string();
            assert!(says.contains(reason), "{says}");
            assert_eq!(method(), Some(Method::Reject));
        }
        fs::write(&hba, "hostssl all all all cert map=m\nlocal all v passthrough").unwrap();
        authentication.reload().unwrap();
        assert_eq!(method(), None);
    }
}
