//! AES-256-SIV (RFC 5297) for a key under which many short values follow one another: its schedules are made
//! once, over the crates `aes`, `cmac` and `ctr`. The crate `aes-siv`, which makes them anew for each value, is
//! the oracle of the tests.
//!
//! What fails authentication leaves no plaintext behind.

use crate::memory::wipe;
use aes::Aes256;
use cmac::{Cmac, KeyInit, Mac};
use ctr::cipher::{InnerIvInit, StreamCipherCore};
use ctr::{CtrCore, flavors::Ctr128BE};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// Bytes by which what is sealed is longer than the plaintext: the synthetic IV, which comes first.
pub(crate) const TAG: usize = 16;
/// Longest first part of the associated data whose state is kept.
const KEPT: usize = 4;

type Block = [u8; 16];

/// What is sealed is not what was, or was under another key.
#[derive(Debug)]
pub(crate) struct Rejected;

/// A key, set up. Boxed, so that moving it leaves no copy behind.
pub(crate) struct Siv(Box<Inner>);

struct Inner {
    mac: Cmac<Aes256>,
    cipher: Aes256,
    /// CMAC of a block of zeros, by which S2V begins.
    zeros: Block,
    /// S2V after the first part of the associated data that came last: a cell's header is that of the one before.
    first: Option<(KeptPart, Block)>,
}

/// A short part, padded, and its length.
type KeptPart = ([u8; KEPT], usize);

impl Siv {
    /// `K1 ‖ K2`.
    pub(crate) fn new(key: &[u8; 64]) -> Self {
        let (authentication, encryption) = key.split_at(32);
        let as_key = |half: &[u8]| {
            let mut key = Zeroizing::new([0; 32]);
            key.copy_from_slice(half);
            key
        };
        let mac = Cmac::new((&*as_key(authentication)).into());
        let cipher = Aes256::new((&*as_key(encryption)).into());
        let mut inner = Box::new(Inner { mac, cipher, zeros: [0; 16], first: None });
        inner.zeros = inner.cmac(&[0; 16]);
        Self(inner)
    }

    /// Appends `V ‖ C`.
    pub(crate) fn seal(&mut self, associated_data: &[&[u8]], plaintext: &[u8], out: &mut Vec<u8>) {
        let tag = self.0.s2v(associated_data, plaintext);
        out.reserve(TAG + plaintext.len());
        out.extend_from_slice(&tag);
        let start = out.len();
        out.extend_from_slice(plaintext);
        if let Some(text) = out.get_mut(start..) {
            self.0.encrypt(tag, text);
        }
    }

    /// Appends the plaintext of `V ‖ C`, or nothing.
    pub(crate) fn open(
        &mut self,
        associated_data: &[&[u8]],
        sealed: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), Rejected> {
        let (tag, ciphertext) = sealed.split_first_chunk::<TAG>().ok_or(Rejected)?;
        let start = out.len();
        out.extend_from_slice(ciphertext);
        let text = out.get_mut(start..).ok_or(Rejected)?;
        self.0.encrypt(*tag, text);
        if bool::from(self.0.s2v(associated_data, text).ct_eq(tag)) {
            return Ok(());
        }
        wipe(text);
        out.truncate(start);
        Err(Rejected)
    }
}

impl Inner {
    fn cmac(&mut self, data: &[u8]) -> Block {
        self.mac.update(data);
        self.mac.finalize_reset().into_bytes().into()
    }

    /// RFC 5297, section 2.4.
    fn s2v(&mut self, associated_data: &[&[u8]], plaintext: &[u8]) -> Block {
        let mut state = self.zeros;
        for (index, part) in associated_data.iter().enumerate() {
            match part_to_keep(part).filter(|_| index == 0) {
                None => state = xor(double(state), self.cmac(part)),
                Some(kept) => match &self.first {
                    Some((first, after)) if *first == kept => state = *after,
                    _ => {
                        state = xor(double(state), self.cmac(part));
                        self.first = Some((kept, state));
                    }
                },
            }
        }
        match plaintext.split_last_chunk::<16>() {
            Some((begin, end)) => {
                self.mac.update(begin);
                self.cmac(&xor(state, *end))
            }
            None => {
                let mut padded = [0; 16];
                for (place, byte) in padded.iter_mut().zip(plaintext.iter().chain(&[0x80])) {
                    *place = *byte;
                }
                let sealed = self.cmac(&xor(double(state), padded));
                wipe(&mut padded);
                sealed
            }
        }
    }

    /// CTR from the synthetic IV, with the bits cleared that section 2.6 names; it also decrypts.
    fn encrypt(&self, mut tag: Block, text: &mut [u8]) {
        for place in [8, 12] {
            if let Some(byte) = tag.get_mut(place) {
                *byte &= 0x7f;
            }
        }
        let stream = CtrCore::<&Aes256, Ctr128BE>::inner_iv_init(&self.cipher, (&tag).into());
        stream.apply_keystream_partial(text.into());
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        wipe(&mut self.zeros);
        if let Some((_, after)) = &mut self.first {
            wipe(after);
        }
    }
}

fn part_to_keep(part: &[u8]) -> Option<KeptPart> {
    let mut kept = [0; KEPT];
    kept.get_mut(..part.len())?.copy_from_slice(part);
    Some((kept, part.len()))
}

fn xor(one: Block, other: Block) -> Block {
    (u128::from_ne_bytes(one) ^ u128::from_ne_bytes(other)).to_ne_bytes()
}

/// Times x in GF(2^128), in constant time.
fn double(block: Block) -> Block {
    let value = u128::from_be_bytes(block);
    ((value << 1) ^ ((value >> 127) * 0x87)).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use aes_siv::siv::Aes256Siv;
    use proptest::prelude::{any, prop, proptest};

    /// Held against the vectors of RFC 5297, which are for AES-128, in `tests/vectors.rs`.
    fn oracle(key: &[u8; 64], associated_data: &[Vec<u8>], plaintext: &[u8]) -> Vec<u8> {
        Aes256Siv::new(key.into()).encrypt(associated_data, plaintext).unwrap()
    }

    proptest! {
        #[test]
        fn it_is_what_aes_siv_makes_and_opens(
            key in prop::array::uniform32(any::<u8>()),
            cells in prop::collection::vec(
                (prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..4), prop::collection::vec(any::<u8>(), 0..100)),
                1..6,
            ),
            bit in any::<prop::sample::Index>(),
        ) {
            let mut both = [0; 64];
            both[..32].copy_from_slice(&key);
            both[32..].copy_from_slice(&key.map(|byte| byte ^ 0x5a));
            let mut siv = Siv::new(&both);
            // The same key and headers again and again, as for the cells of a column.
            for (associated_data, plaintext) in cells.iter().chain(&cells) {
                let parts: Vec<&[u8]> = associated_data.iter().map(Vec::as_slice).collect();
                let mut sealed = Vec::new();
                siv.seal(&parts, plaintext, &mut sealed);
                assert_eq!(sealed, oracle(&both, associated_data, plaintext));
                let mut opened = b"before".to_vec();
                siv.open(&parts, &sealed, &mut opened).unwrap();
                assert_eq!(opened, [b"before", plaintext.as_slice()].concat());
                let at = bit.index(8 * sealed.len());
                sealed[at / 8] ^= 1 << (at % 8);
                let mut nothing = b"before".to_vec();
                assert!(siv.open(&parts, &sealed, &mut nothing).is_err());
                assert_eq!(nothing, b"before");
            }
        }
    }

    #[test]
    fn what_is_too_short_is_rejected() {
        assert!(Siv::new(&[1; 64]).open(&[b"x"], &[0; 15], &mut Vec::new()).is_err());
    }
}
