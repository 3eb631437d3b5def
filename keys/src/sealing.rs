//! AES-256-SIV (RFC 5297) for a key under which few values are sealed, by the crate `aes-siv`; cells have
//! [`siv`](crate::siv).

use aes_siv::KeyInit;
use aes_siv::siv::{Aes256Siv, IV_SIZE};
use zeroize::Zeroize;

/// What cannot be sealed, or is not what was sealed under this key.
#[derive(Debug)]
pub(crate) struct Refused;

/// AES-256-SIV under this key.
pub(crate) fn siv(key: &[u8; 64]) -> Box<Aes256Siv> {
    Box::new(Aes256Siv::new(key.into()))
}

/// Appends `V ‖ C` (RFC 5297, section 2.6).
pub(crate) fn seal(
    siv: &mut Aes256Siv,
    associated_data: &[&[u8]],
    plaintext: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), Refused> {
    let tag_start = out.len();
    out.extend_from_slice(&[0; IV_SIZE]);
    let text_start = out.len();
    out.extend_from_slice(plaintext);
    let text = out.get_mut(text_start..).ok_or(Refused)?;
    let Ok(tag) = siv.encrypt_inout_detached(associated_data, (&mut *text).into()) else {
        text.zeroize();
        return Err(Refused);
    };
    let slot = out.get_mut(tag_start..text_start).ok_or(Refused)?;
    slot.copy_from_slice(&tag);
    Ok(())
}

/// Appends the plaintext of `V ‖ C` (RFC 5297, section 2.7), or nothing.
pub(crate) fn open(
    siv: &mut Aes256Siv,
    associated_data: &[&[u8]],
    sealed: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), Refused> {
    let (tag, ciphertext) = sealed.split_at_checked(IV_SIZE).ok_or(Refused)?;
    let tag = tag.try_into().map_err(|_| Refused)?;
    let start = out.len();
    out.extend_from_slice(ciphertext);
    let text = out.get_mut(start..).ok_or(Refused)?;
    // On failure aes-siv has put the ciphertext back: no unauthenticated plaintext is cut off here.
    siv.decrypt_inout_detached(associated_data, text.into(), &tag).map_err(|_| {
        out.truncate(start);
        Refused
    })
}
