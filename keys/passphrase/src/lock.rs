//! Encryption under a passphrase: age v1 (<https://age-encryption.org/v1>), recipient type scrypt.
//!
//! Invariant: what comes out of a lock lives only in buffers that are wiped when dropped.

use age::secrecy::SecretString;
use age::{DecryptError, Decryptor, Encryptor, scrypt};
use std::io::{self, Read, Write};
use std::iter;
use zeroize::Zeroizing;

/// The most work (scrypt's log2(N)) that unlocking may ask for: 4 GiB of memory.
pub const MAX_WORK_FACTOR: u8 = 22;

/// The first line of a locked file.
const FIRST_LINE: &[u8] = b"age-encryption.org/v1\n";

/// Why something does not unlock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LockError {
    /// Another passphrase is the right one.
    #[error("wrong passphrase")]
    WrongPassphrase,
    /// Not locked by a passphrase, or altered since.
    #[error("not locked by a passphrase, or damaged")]
    Damaged,
    /// Not made here: trying it would take all memory.
    #[error("unlocking would take too much work (scrypt work factor {0})")]
    TooMuchWork(u8),
}

/// Whether this is locked, by a passphrase or by another means of age.
pub fn is_locked(content: &[u8]) -> bool {
    content.starts_with(FIRST_LINE)
}

/// Locks. `work_factor` is scrypt's log2(N); without it, about one second of work is chosen.
///
/// # Errors
/// None that depends on the content.
pub fn lock(content: &[u8], passphrase: &SecretString, work_factor: Option<u8>) -> io::Result<Vec<u8>> {
    let mut recipient = scrypt::Recipient::new(passphrase.clone());
    if let Some(work_factor) = work_factor {
        recipient.set_work_factor(work_factor);
    }
    let encryptor = Encryptor::with_recipients(iter::once(&recipient as _)).map_err(io::Error::other)?;
    let mut sealed = Vec::new();
    let mut writer = encryptor.wrap_output(&mut sealed)?;
    writer.write_all(content)?;
    writer.finish()?;
    Ok(sealed)
}

/// Unlocks.
///
/// # Errors
/// [`LockError`].
pub fn unlock(sealed: &[u8], passphrase: &SecretString) -> Result<Zeroizing<Vec<u8>>, LockError> {
    let decryptor = Decryptor::new_buffered(sealed).map_err(|_| LockError::Damaged)?;
    if !decryptor.is_scrypt() {
        return Err(LockError::Damaged);
    }
    let mut identity = scrypt::Identity::new(passphrase.clone());
    identity.set_max_work_factor(MAX_WORK_FACTOR);
    let mut reader = decryptor.decrypt(iter::once(&identity as _)).map_err(|e| match e {
        DecryptError::DecryptionFailed | DecryptError::KeyDecryptionFailed | DecryptError::NoMatchingKeys => {
            LockError::WrongPassphrase
        }
        DecryptError::ExcessiveWork { required, .. } => LockError::TooMuchWork(required),
        _ => LockError::Damaged,
    })?;
    // The plaintext is shorter than the sealed form, so that the buffer never moves.
    let mut content = Zeroizing::new(Vec::with_capacity(sealed.len()));
    reader.read_to_end(&mut content).map_err(|_| LockError::Damaged)?;
    Ok(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_right_passphrase_unlocks_what_was_not_altered() {
        let right = SecretString::from("correct horse battery staple");
        let sealed = lock(b"content", &right, Some(4)).unwrap();
        assert!(is_locked(&sealed) && !is_locked(b"content"));
        assert_eq!(unlock(&sealed, &right).unwrap().as_slice(), b"content");
        let wrong = SecretString::from("correct horse battery stable");
        assert_eq!(unlock(&sealed, &wrong).err(), Some(LockError::WrongPassphrase));
        for altered in [&sealed[..sealed.len() - 1], b"content", b""] {
            assert_eq!(unlock(altered, &right).err(), Some(LockError::Damaged));
        }
        let mut altered = sealed.clone();
        *altered.last_mut().unwrap() ^= 1;
        assert_eq!(unlock(&altered, &right).err(), Some(LockError::Damaged));
        let work = String::from_utf8_lossy(&sealed).find(" 4\n").unwrap();
        altered = [&sealed[..work], b" 30\n", &sealed[work + 3..]].concat();
        assert_eq!(unlock(&altered, &right).err(), Some(LockError::TooMuchWork(30)));
    }
}
