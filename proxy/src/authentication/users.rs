//! `users_file`: for each user a SCRAM verifier, and how the proxy logs in for that user at the database.
//! A private file; what is wrong with it is said without what stands in it.

use super::verifier::{MalformedVerifier, Verifier};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use toml::{Table, Value};
use trefoil_keys::private_file::{self, FileError};
use zeroize::Zeroizing;

/// As whom the proxy logs in at the database.
#[derive(Clone)]
pub struct Credential {
    /// The role.
    pub role: Vec<u8>,
    /// Its password; without one the database knows the proxy's certificate, or asks for nothing.
    pub password: Option<Zeroizing<String>>,
}

pub(super) struct User {
    pub(super) verifier: Option<Verifier>,
    pub(super) credential: Credential,
}

/// All users.
#[derive(Default)]
pub(super) struct Users {
    by_name: HashMap<String, User>,
    /// How costly the verifiers are, most of them: by this an unknown user looks like a known one.
    pub(super) iterations: Option<u32>,
}

/// Why the file is refused.
#[derive(Debug, thiserror::Error)]
pub enum UsersError {
    /// It cannot be read, or others can read it, too.
    #[error(transparent)]
    File(#[from] FileError),
    /// It is not TOML.
    #[error("{file}, line {line}: {problem}")]
    Syntax {
        /// The file.
        file: PathBuf,
        /// From 1.
        line: usize,
        /// What is wrong.
        problem: String,
    },
    /// It says something else than it may.
    #[error("{file}: {place}: {problem}")]
    Content {
        /// The file.
        file: PathBuf,
        /// Which key.
        place: String,
        /// What is wrong with it.
        problem: String,
    },
}

impl Users {
    pub(super) fn read(file: &Path) -> Result<Self, UsersError> {
        Self::parse(&private_file::read(file)?, file)
    }

    /// What stands in `file`.
    pub(super) fn parse(bytes: &[u8], file: &Path) -> Result<Self, UsersError> {
        let syntax = |start: usize, problem: &str| {
            let before = bytes.get(..start).unwrap_or_default();
            let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
            UsersError::Syntax { file: file.to_owned(), line, problem: problem.to_owned() }
        };
        let text = str::from_utf8(bytes).map_err(|error| syntax(error.valid_up_to(), "not UTF-8"))?;
        let mut table: Table = text.parse().map_err(|error: toml::de::Error| {
            syntax(error.span().map_or(0, |span| span.start), error.message())
        })?;
        let content = |(place, problem): (String, String)| UsersError::Content {
            file: file.to_owned(),
            place,
            problem,
        };
        let users = match table.remove("users") {
            Some(Value::Table(users)) => users,
            Some(_) => return Err(content(("users".to_owned(), "not a table".to_owned()))),
            None => Table::new(),
        };
        if let Some(key) = table.keys().next() {
            return Err(content((key.clone(), "unknown; users are tables [users.name]".to_owned())));
        }
        let users = users.into_iter().map(|(name, value)| Ok((name.clone(), user(name, value)?)));
        let by_name = users.collect::<Result<_, _>>().map_err(content)?;
        Ok(Self { iterations: most_frequent(&by_name), by_name })
    }

    pub(super) fn get(&self, name: &[u8]) -> Option<&User> {
        self.by_name.get(str::from_utf8(name).ok()?)
    }
}

fn most_frequent(users: &HashMap<String, User>) -> Option<u32> {
    let mut counts: HashMap<u32, usize> = HashMap::new();
    for verifier in users.values().filter_map(|user| user.verifier.as_ref()) {
        *counts.entry(verifier.iterations).or_default() += 1;
    }
    counts.into_iter().max_by_key(|(iterations, count)| (*count, *iterations)).map(|(most, _)| most)
}

type Wrong = (String, String);

fn user(name: String, value: Value) -> Result<User, Wrong> {
    let place = |key: &str| format!("users.{name:?}{key}");
    let Value::Table(mut table) = value else {
        return Err((place(""), "not a table".to_owned()));
    };
    let mut text = |key: &str| match table.remove(key) {
        None => Ok(None),
        Some(Value::String(text)) if !text.is_empty() && !text.contains('\0') => {
            Ok(Some(Zeroizing::new(text)))
        }
        Some(_) => Err((place(&format!(".{key}")), "not a text with something in it".to_owned())),
    };
    let verifier = text("verifier")?.map(|text| text.parse());
    let verifier =
        verifier.transpose().map_err(|error: MalformedVerifier| (place(".verifier"), error.to_string()))?;
    let role = text("role")?.map_or_else(|| name.clone(), |role| role.to_string());
    let password = text("password")?;
    match table.keys().next() {
        Some(key) => Err((place(&format!(".{key}")), "unknown; verifier, role, password".to_owned())),
        None => Ok(User { verifier, credential: Credential { role: role.into_bytes(), password } }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    fn read(text: &str) -> Result<Users, String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), text).unwrap();
        Users::read(file.path()).map_err(|error| error.to_string())
    }

    #[test]
    fn users_have_a_verifier_and_a_credential() {
        let verifier = postgres_protocol::password::scram_sha_256(b"pencil");
        let users = read(&format!(
            "[users.alice]\nverifier = \"{verifier}\"\nrole = \"app\"\npassword = \"s3cret\"\n[users.\"Zoë W\"]\n"
        ))
        .unwrap();
        let alice = users.get(b"alice").unwrap();
        assert!(alice.verifier.is_some());
        assert_eq!(alice.credential.role, b"app");
        assert_eq!(alice.credential.password.as_ref().unwrap().as_str(), "s3cret");
        let zoe = users.get("Zoë W".as_bytes()).unwrap();
        assert!(zoe.verifier.is_none() && zoe.credential.password.is_none());
        assert_eq!(zoe.credential.role, "Zoë W".as_bytes());
        assert!(users.get(b"bob").is_none() && users.get(b"\xff").is_none());
        assert_eq!(users.iterations, Some(4096));
    }

    #[test]
    fn what_is_wrong_is_said_without_what_stands_there() {
        for (text, reason) in [
            ("[users.a]\npassword = \"s3cret\n", "line 2: "),
            ("[users.a]\npassword = 5318008\n", "users.\"a\".password: not a text"),
            ("[users.a]\nverifier = \"s3cret\"\n", "users.\"a\".verifier: not a verifier"),
            ("[users.a]\npasword = \"s3cret\"\n", "users.\"a\".pasword: unknown"),
            ("[user.a]\npassword = \"s3cret\"\n", "user: unknown"),
            ("users = 1\n", "users: not a table"),
        ] {
            let says = read(text).err().unwrap();
            assert!(says.contains(reason), "{says}");
            assert!(!says.contains("s3cret") && !says.contains("5318008"), "{says}");
        }
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::set_permissions(file.path(), fs::Permissions::from_mode(0o640)).unwrap();
        let says = Users::read(file.path()).err().unwrap().to_string();
        assert!(says.contains("chmod 600"), "{says}");
    }
}
