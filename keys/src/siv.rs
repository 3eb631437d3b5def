//! AES-256-SIV (RFC 5297) for a key under which many short values follow one another: schedules and subkeys
//! are made once, and the blocks of a value go through the cipher by one call for S2V and one for CTR, because
//! a call costs as much as a block. The crate `aes-siv`, which makes all of it anew, is the oracle of the tests.
//!
//! What fails authentication leaves no plaintext behind.

use crate::memory::wipe;
use aes::Aes256;
use aes::cipher::consts::U16;
use aes::cipher::typenum::Unsigned;
use aes::cipher::{
    BlockCipherEncBackend, BlockCipherEncClosure, BlockCipherEncrypt, BlockSizeUser, KeyInit, ParBlocks,
};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

const BLOCK: usize = 16;
/// Bytes by which what is sealed is longer than the plaintext: the synthetic IV, which comes first.
pub(crate) const TAG: usize = BLOCK;
/// Longest first part of the associated data whose state is kept.
const KEPT: usize = 4;

type Block = [u8; BLOCK];

/// What is sealed is not what was, or was under another key.
#[derive(Debug)]
pub(crate) struct Rejected;

/// A key, set up. Boxed, so that moving it leaves no copy behind. Work with it leaves parts of its schedules and of
/// values on the stack: its owner wipes that.
pub(crate) struct Siv(Box<Inner>);

struct Inner {
    authentication: Aes256,
    encryption: Aes256,
    states: States,
}

/// What S2V begins with.
struct States {
    subkeys: Subkeys,
    /// CMAC of a block of zeros.
    zeros: Block,
    /// S2V after the first part of the associated data that came last: a cell's header is that of the one before.
    first: Option<(KeptPart, Block)>,
}

/// CMAC's, for a last block that is whole, and for one that is padded.
struct Subkeys {
    whole: Block,
    padded: Block,
}

/// A short part, padded, and its length.
type KeptPart = ([u8; KEPT], usize);

impl Siv {
    /// `K1 ‖ K2`.
    pub(crate) fn new(key: &[u8; 64]) -> Self {
        let (authentication, encryption) = key.split_at(32);
        let cipher = |half: &[u8]| {
            let mut key = Zeroizing::new([0; 32]);
            key.copy_from_slice(half);
            Aes256::new((&*key).into())
        };
        let subkeys = Subkeys { whole: [0; BLOCK], padded: [0; BLOCK] };
        let mut inner = Box::new(Inner {
            authentication: cipher(authentication),
            encryption: cipher(encryption),
            states: States { subkeys, zeros: [0; BLOCK], first: None },
        });
        let Inner { authentication, states, .. } = &mut *inner;
        authentication.encrypt_with_backend(Begin(states));
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
    fn s2v(&mut self, associated_data: &[&[u8]], plaintext: &[u8]) -> Block {
        let Self { authentication, states, .. } = self;
        let mut tag = [0; BLOCK];
        authentication.encrypt_with_backend(S2v { states, associated_data, plaintext, tag: &mut tag });
        tag
    }

    /// CTR from the synthetic IV, with the bits cleared that section 2.6 names; it also decrypts.
    fn encrypt(&self, tag: Block, text: &mut [u8]) {
        let counter = u128::from_be_bytes(tag) & !(1 << 63 | 1 << 31);
        self.encryption.encrypt_with_backend(Ctr { counter, text });
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let States { subkeys: Subkeys { whole, padded }, zeros, first } = &mut self.states;
        for state in [whole, padded, zeros].into_iter().chain(first.as_mut().map(|(_, after)| after)) {
            wipe(state);
        }
    }
}

/// Makes the states.
struct Begin<'a>(&'a mut States);

impl BlockSizeUser for Begin<'_> {
    type BlockSize = U16;
}

impl BlockCipherEncClosure for Begin<'_> {
    #[inline(always)]
    fn call<B: BlockCipherEncBackend<BlockSize = U16>>(self, backend: &B) {
        let States { subkeys, zeros, .. } = self.0;
        subkeys.whole = double(enciphered(backend, [0; BLOCK]));
        subkeys.padded = double(subkeys.whole);
        *zeros = subkeys.cmac(backend, &[0; BLOCK]);
    }
}

impl Subkeys {
    #[inline(always)]
    fn cmac<B: BlockCipherEncBackend<BlockSize = U16>>(&self, backend: &B, data: &[u8]) -> Block {
        self.cmac_from([0; BLOCK], backend, data)
    }

    /// Goes on from a state after whole blocks.
    #[inline(always)]
    fn cmac_from<B: BlockCipherEncBackend<BlockSize = U16>>(
        &self,
        mut state: Block,
        backend: &B,
        data: &[u8],
    ) -> Block {
        let (blocks, rest) = data.as_chunks();
        let (blocks, last) = match blocks.split_last() {
            Some((last, before)) if rest.is_empty() => (before, xor(*last, self.whole)),
            _ => (blocks, xor(pad(rest), self.padded)),
        };
        for block in blocks {
            state = enciphered(backend, xor(state, *block));
        }
        enciphered(backend, xor(state, last))
    }
}

/// RFC 5297, section 2.4.
struct S2v<'a> {
    states: &'a mut States,
    associated_data: &'a [&'a [u8]],
    plaintext: &'a [u8],
    tag: &'a mut Block,
}

impl BlockSizeUser for S2v<'_> {
    type BlockSize = U16;
}

impl BlockCipherEncClosure for S2v<'_> {
    #[inline(always)]
    fn call<B: BlockCipherEncBackend<BlockSize = U16>>(self, backend: &B) {
        let Self { states: States { subkeys, zeros, first }, associated_data, plaintext, tag } = self;
        let mut state = *zeros;
        for (index, part) in associated_data.iter().enumerate() {
            match part_to_keep(part).filter(|_| index == 0) {
                None => state = xor(double(state), subkeys.cmac(backend, part)),
                Some(kept) => match first {
                    Some((first, after)) if *first == kept => state = *after,
                    _ => {
                        state = xor(double(state), subkeys.cmac(backend, part));
                        *first = Some((kept, state));
                    }
                },
            }
        }
        *tag = match plaintext.len().checked_sub(BLOCK) {
            None => subkeys.cmac(backend, &xor(double(state), pad(plaintext))),
            Some(to_last) => {
                // The state is laid over the last bytes, which may begin within a block.
                let (begin, end) = plaintext.split_at(to_last - to_last % BLOCK);
                let mut masked = [0; 2 * BLOCK];
                for (place, byte) in masked.iter_mut().zip(end) {
                    *place = *byte;
                }
                for (place, byte) in masked.iter_mut().skip(to_last % BLOCK).zip(state) {
                    *place ^= byte;
                }
                let (begin, _) = begin.as_chunks();
                let state =
                    begin.iter().fold([0; BLOCK], |state, block| enciphered(backend, xor(state, *block)));
                subkeys.cmac_from(state, backend, masked.get(..end.len()).unwrap_or_default())
            }
        };
    }
}

struct Ctr<'a> {
    counter: u128,
    text: &'a mut [u8],
}

impl BlockSizeUser for Ctr<'_> {
    type BlockSize = U16;
}

impl BlockCipherEncClosure for Ctr<'_> {
    #[inline(always)]
    fn call<B: BlockCipherEncBackend<BlockSize = U16>>(self, backend: &B) {
        let Self { mut counter, text } = self;
        let mut next = || {
            let block = counter.to_be_bytes();
            counter = counter.wrapping_add(1);
            block
        };
        let mut at_once = text.chunks_exact_mut(B::ParBlocksSize::USIZE * BLOCK);
        for text in &mut at_once {
            let mut stream = ParBlocks::<B>::default();
            stream.iter_mut().for_each(|block| *block = next().into());
            backend.encrypt_par_blocks_inplace(&mut stream);
            xor_into(text, stream.as_flattened());
        }
        for text in at_once.into_remainder().chunks_mut(BLOCK) {
            xor_into(text, &enciphered(backend, next()));
        }
    }
}

#[inline(always)]
fn enciphered<B: BlockCipherEncBackend<BlockSize = U16>>(backend: &B, block: Block) -> Block {
    let mut block = block.into();
    backend.encrypt_block_inplace(&mut block);
    block.into()
}

fn part_to_keep(part: &[u8]) -> Option<KeptPart> {
    let mut kept = [0; KEPT];
    kept.get_mut(..part.len())?.copy_from_slice(part);
    Some((kept, part.len()))
}

/// Less than a block, a one bit, and zeros.
fn pad(rest: &[u8]) -> Block {
    let mut padded = [0; BLOCK];
    for (place, byte) in padded.iter_mut().zip(rest.iter().chain(&[0x80])) {
        *place = *byte;
    }
    padded
}

fn xor(one: Block, other: Block) -> Block {
    (u128::from_ne_bytes(one) ^ u128::from_ne_bytes(other)).to_ne_bytes()
}

fn xor_into(text: &mut [u8], stream: &[u8]) {
    for (place, byte) in text.iter_mut().zip(stream) {
        *place ^= byte;
    }
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
