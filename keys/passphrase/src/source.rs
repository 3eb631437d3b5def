//! Where passphrases and passwords come from: a file descriptor, a prompt without echo, and for
//! passphrases the environment. They are never arguments, which every user of the machine could read, and
//! each is asked for once in a run.

use age::secrecy::{ExposeSecret, SecretString};
use std::cell::OnceCell;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;
use zeroize::Zeroizing;

/// For scripts that cannot pass a descriptor.
const VARIABLE: &str = "TREFOIL_PASSPHRASE";
const PASSPHRASE: &str = "passphrase";

/// Fewest characters of a new passphrase, or of a password that the tenant chooses: whoever gets the vault
/// may try as many as there is time for.
const MIN_CHARACTERS: usize = 12;
/// Longest line taken from a descriptor, in bytes.
const MAX_BYTES: usize = 4096;
/// The same with the end of the line.
const READ_LIMIT: u64 = 4098;

/// Why there is no passphrase or password.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The descriptor cannot be read.
    #[error("cannot read the {what} from file descriptor {descriptor}: {source}")]
    Descriptor {
        /// What should come from it.
        what: &'static str,
        /// Its number.
        descriptor: u32,
        /// Why not.
        source: io::Error,
    },
    /// There is no terminal.
    #[error(
        "cannot ask for the passphrase ({0}); without a terminal use --passphrase-fd or TREFOIL_PASSPHRASE"
    )]
    Prompt(io::Error),
    /// The same, for a password.
    #[error("cannot ask for the password ({0}); without a terminal use --password-fd")]
    PasswordPrompt(io::Error),
    /// Bytes that are no text.
    #[error("the {0} is not UTF-8 text")]
    NotText(&'static str),
    /// Nothing.
    #[error("the {0} is empty")]
    Empty(&'static str),
    /// No one types so much.
    #[error("the {0} is longer than {MAX_BYTES} bytes")]
    TooLong(&'static str),
    /// A new one was not typed the same twice.
    #[error("the two differ; nothing was changed")]
    Differ,
    /// A new one that is too short.
    #[error(
        "the new {0} has fewer than {MIN_CHARACTERS} characters, and could be found by trying; take several words by chance, or what a password manager makes"
    )]
    Weak(&'static str),
}

/// What the passphrase is for: a new one is asked for twice.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// It exists.
    Existing,
    /// It is chosen now.
    New,
}

/// A passphrase, once it is known.
pub struct Passphrase {
    /// What it locks, as prompts say it.
    of: &'static str,
    descriptor: Option<u32>,
    known: OnceCell<SecretString>,
}

impl Passphrase {
    /// Of what is called so: from `descriptor` if there is one, else from the environment, else from the
    /// terminal.
    pub fn new(of: &'static str, descriptor: Option<u32>) -> Self {
        Self { of, descriptor, known: OnceCell::new() }
    }

    /// Whether nobody needs to be asked.
    pub fn is_given(&self) -> bool {
        self.known.get().is_some() || self.descriptor.is_some() || std::env::var_os(VARIABLE).is_some()
    }

    /// The passphrase; read or asked for the first time only.
    ///
    /// # Errors
    /// [`SecretError`].
    pub fn obtain(&self, purpose: Use) -> Result<&SecretString, SecretError> {
        if let Some(known) = self.known.get() {
            return Ok(known);
        }
        let passphrase = match (self.descriptor, std::env::var_os(VARIABLE)) {
            (Some(descriptor), _) => from_descriptor(descriptor, PASSPHRASE)?,
            (None, Some(value)) => {
                SecretString::from(value.into_string().map_err(|_| SecretError::NotText(PASSPHRASE))?)
            }
            (None, None) => from_terminal(self.of, purpose)?,
        };
        if passphrase.expose_secret().is_empty() {
            return Err(SecretError::Empty(PASSPHRASE));
        }
        if purpose == Use::New {
            require_strong(passphrase.expose_secret(), PASSPHRASE)?;
        }
        Ok(self.known.get_or_init(|| passphrase))
    }
}

/// A passphrase in place of the one that there is, from `descriptor` if there is one, else from the terminal.
///
/// # Errors
/// [`SecretError`].
pub fn new_passphrase(of: &str, descriptor: Option<u32>) -> Result<SecretString, SecretError> {
    let passphrase = match descriptor {
        Some(descriptor) => from_descriptor(descriptor, PASSPHRASE)?,
        None => from_terminal(of, Use::New)?,
    };
    require_strong(passphrase.expose_secret(), PASSPHRASE).map(|()| passphrase)
}

/// A password that a person chooses.
///
/// # Errors
/// [`SecretError`].
pub fn chosen_password(descriptor: Option<u32>) -> Result<Zeroizing<String>, SecretError> {
    let what = "password";
    let chosen = password(descriptor, what)?;
    if descriptor.is_none() && *password(None, "password again")? != *chosen {
        return Err(SecretError::Differ);
    }
    require_strong(&chosen, what).map(|()| chosen)
}

fn require_strong(text: &str, what: &'static str) -> Result<(), SecretError> {
    if text.chars().count() < MIN_CHARACTERS { Err(SecretError::Weak(what)) } else { Ok(()) }
}

/// A password, from `descriptor` if there is one, else from the terminal. White space around it is none of
/// it.
///
/// # Errors
/// [`SecretError`].
pub fn password(descriptor: Option<u32>, what: &'static str) -> Result<Zeroizing<String>, SecretError> {
    let typed = match descriptor {
        Some(descriptor) => from_descriptor(descriptor, what)?,
        None => rpassword::prompt_password(format!("The {what}: "))
            .map(SecretString::from)
            .map_err(SecretError::PasswordPrompt)?,
    };
    let password = Zeroizing::new(typed.expose_secret().trim().to_owned());
    if password.is_empty() { Err(SecretError::Empty(what)) } else { Ok(password) }
}

fn from_descriptor(descriptor: u32, what: &'static str) -> Result<SecretString, SecretError> {
    let failed = |source| SecretError::Descriptor { what, descriptor, source };
    let file = match descriptor {
        0 => io::stdin().as_fd().try_clone_to_owned().map(File::from),
        // Through the file system: taking a bare descriptor over would need unsafe code.
        _ => File::open(format!("/dev/fd/{descriptor}")),
    };
    first_line(file.map_err(failed)?, what, failed)
}

fn first_line(
    input: impl Read,
    what: &'static str,
    failed: impl FnOnce(io::Error) -> SecretError,
) -> Result<SecretString, SecretError> {
    // More room than can be read: a buffer that grows leaves its former place behind unwiped.
    let mut content = Zeroizing::new(Vec::with_capacity(2 * MAX_BYTES));
    input.take(READ_LIMIT).read_to_end(&mut content).map_err(failed)?;
    let line = content.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if line.len() > MAX_BYTES {
        return Err(SecretError::TooLong(what));
    }
    let text = std::str::from_utf8(line).map_err(|_| SecretError::NotText(what))?;
    Ok(SecretString::from(text))
}

fn from_terminal(of: &str, purpose: Use) -> Result<SecretString, SecretError> {
    let ask = |prompt: String| {
        rpassword::prompt_password(prompt).map(SecretString::from).map_err(SecretError::Prompt)
    };
    match purpose {
        Use::Existing => ask(format!("Passphrase of {of}: ")),
        Use::New => {
            let first = ask(format!("New passphrase of {of}: "))?;
            let second = ask("The same again: ".to_owned())?;
            if first.expose_secret() == second.expose_secret() { Ok(first) } else { Err(SecretError::Differ) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(input: &[u8]) -> Result<String, SecretError> {
        first_line(input, PASSPHRASE, SecretError::Prompt).map(|text| text.expose_secret().to_owned())
    }

    #[test]
    fn one_line_without_its_end() {
        assert_eq!(read(b"open sesame").unwrap(), "open sesame");
        assert_eq!(read(b" open sesame \nrest").unwrap(), " open sesame ");
        assert_eq!(read(b"open sesame\r\n").unwrap(), "open sesame");
        assert_eq!(read(b"").unwrap(), "");
    }

    #[test]
    fn bad_input() {
        assert!(matches!(read(b"\xff"), Err(SecretError::NotText(_))));
        assert!(read(&[b'x'; MAX_BYTES]).is_ok());
        assert!(matches!(read(&[b'x'; MAX_BYTES + 1]), Err(SecretError::TooLong(_))));
        assert!(matches!(read(&[b'x'; MAX_BYTES * 3]), Err(SecretError::TooLong(_))));
    }
}
