//! Where the vault's passphrase comes from: a file descriptor, the environment, or a prompt without
//! echo. It is never an argument, which every user of the machine could read.

use age::secrecy::{ExposeSecret, SecretString};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;
use zeroize::Zeroizing;

/// For scripts that cannot pass a descriptor.
const VARIABLE: &str = "TREFOIL_PASSPHRASE";

/// Longest line taken from a descriptor, in bytes.
const MAX_BYTES: usize = 4096;
/// The same with the end of the line.
const READ_LIMIT: u64 = 4098;

/// Why there is no passphrase.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PassphraseError {
    #[error("cannot read the passphrase from file descriptor {descriptor}: {source}")]
    Descriptor { descriptor: u32, source: io::Error },
    #[error(
        "cannot ask for the passphrase ({0}); without a terminal use --passphrase-fd or TREFOIL_PASSPHRASE"
    )]
    Prompt(io::Error),
    #[error("the passphrase is not UTF-8 text")]
    NotText,
    #[error("the passphrase is empty")]
    Empty,
    #[error("the passphrase is longer than {MAX_BYTES} bytes")]
    TooLong,
    #[error("the two passphrases differ; nothing was changed")]
    Differ,
}

/// What the passphrase is for: a new one is asked for twice.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Use {
    Existing,
    New,
}

/// The passphrase, from `descriptor` if there is one, else from the environment, else from the terminal.
pub(crate) fn obtain(descriptor: Option<u32>, purpose: Use) -> Result<SecretString, PassphraseError> {
    let passphrase = match (descriptor, std::env::var_os(VARIABLE)) {
        (Some(descriptor), _) => from_descriptor(descriptor)?,
        (None, Some(value)) => SecretString::from(value.into_string().map_err(|_| PassphraseError::NotText)?),
        (None, None) => from_terminal(purpose)?,
    };
    if passphrase.expose_secret().is_empty() { Err(PassphraseError::Empty) } else { Ok(passphrase) }
}

fn from_descriptor(descriptor: u32) -> Result<SecretString, PassphraseError> {
    let failed = |source| PassphraseError::Descriptor { descriptor, source };
    let file = match descriptor {
        0 => io::stdin().as_fd().try_clone_to_owned().map(File::from),
        // Through the file system: taking a bare descriptor over would need unsafe code.
        _ => File::open(format!("/dev/fd/{descriptor}")),
    };
    first_line(file.map_err(failed)?, failed)
}

fn first_line(
    input: impl Read,
    failed: impl FnOnce(io::Error) -> PassphraseError,
) -> Result<SecretString, PassphraseError> {
    // More room than can be read: a buffer that grows leaves its former place behind unwiped.
    let mut content = Zeroizing::new(Vec::with_capacity(2 * MAX_BYTES));
    input.take(READ_LIMIT).read_to_end(&mut content).map_err(failed)?;
    let line = content.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if line.len() > MAX_BYTES {
        return Err(PassphraseError::TooLong);
    }
    let text = std::str::from_utf8(line).map_err(|_| PassphraseError::NotText)?;
    Ok(SecretString::from(text))
}

fn from_terminal(purpose: Use) -> Result<SecretString, PassphraseError> {
    let ask = |prompt: &str| {
        rpassword::prompt_password(prompt).map(SecretString::from).map_err(PassphraseError::Prompt)
    };
    match purpose {
        Use::Existing => ask("Passphrase of the vault: "),
        Use::New => {
            let first = ask("New passphrase of the vault: ")?;
            let second = ask("The same again: ")?;
            if first.expose_secret() == second.expose_secret() {
                Ok(first)
            } else {
                Err(PassphraseError::Differ)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(input: &[u8]) -> Result<String, PassphraseError> {
        first_line(input, PassphraseError::Prompt).map(|text| text.expose_secret().to_owned())
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
        assert!(matches!(read(b"\xff"), Err(PassphraseError::NotText)));
        assert!(read(&[b'x'; MAX_BYTES]).is_ok());
        assert!(matches!(read(&[b'x'; MAX_BYTES + 1]), Err(PassphraseError::TooLong)));
        assert!(matches!(read(&[b'x'; MAX_BYTES * 3]), Err(PassphraseError::TooLong)));
    }
}
