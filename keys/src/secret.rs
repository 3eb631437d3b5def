//! Fixed-size secrets: wiped on drop, compared in constant time, without `Debug`, `Display`, `Clone`
//! and `Serialize`. Their bytes live on the heap, so that a move copies a pointer and no key.

use crate::kdf::{Extracted, Purpose};
use crate::memory::{wipe, wipes};
use base64ct::{Base64UrlUnpadded, Encoding};
use rand::TryRng;
use rand::rngs::SysRng;
use std::cell::OnceCell;
use std::marker::PhantomData;
use subtle::{Choice, ConstantTimeEq};
use trefoil_arena::{NoRoom, Slot};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// Bytes of every secret here.
pub const LENGTH: usize = 32;

/// A text is not a share.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a share: a share is {LENGTH} bytes in base64url without padding (43 characters)")]
pub struct MalformedShare;

/// One XOR share of a tenant key (TKu, TKa or TKp): 32 bytes.
pub struct Share(Place);

/// Where a share's bytes are.
enum Place {
    Heap(Box<[u8; LENGTH]>),
    /// In memory that nobody else can read: for shares that are kept while others work.
    Guarded(Slot),
}

impl Drop for Share {
    fn drop(&mut self) {
        // A slot wipes itself.
        if let Place::Heap(bytes) = &mut self.0 {
            wipe(bytes.as_mut_slice());
        }
    }
}

impl ZeroizeOnDrop for Share {}

impl Share {
    /// A uniformly random share.
    pub fn random() -> Self {
        let mut share = Self::zero();
        fill_random(share.as_mut_bytes());
        share
    }

    /// The share of these bytes. Wipes its argument; copies that the caller keeps are the caller's.
    pub fn from_bytes(mut bytes: [u8; LENGTH]) -> Self {
        let mut share = Self::zero();
        share.as_mut_bytes().copy_from_slice(&bytes);
        bytes.zeroize();
        share
    }

    /// The share that this text (base64url, RFC 4648 section 5, no padding, canonical) encodes.
    ///
    /// # Errors
    /// [`MalformedShare`] for everything else.
    pub fn from_base64url(text: &str) -> Result<Self, MalformedShare> {
        let mut share = Self::zero();
        match Base64UrlUnpadded::decode(text, share.as_mut_bytes()) {
            Ok(bytes) if bytes.len() == LENGTH => Ok(share),
            _ => Err(MalformedShare),
        }
    }

    /// The same in guarded memory, where a share may wait.
    ///
    /// # Errors
    /// [`MalformedShare`] inside for everything that is no share; [`NoRoom`].
    pub fn guarded_from_base64url(text: &str) -> Result<Result<Self, MalformedShare>, NoRoom> {
        let mut share = Self::guarded()?;
        Ok(match Base64UrlUnpadded::decode(text, share.as_mut_bytes()) {
            Ok(bytes) if bytes.len() == LENGTH => Ok(share),
            _ => Err(MalformedShare),
        })
    }

    /// The share as base64url without padding: 43 characters.
    pub fn to_base64url(&self) -> Zeroizing<String> {
        Zeroizing::new(Base64UrlUnpadded::encode_string(self.as_bytes()))
    }

    /// The 32 bytes.
    pub fn as_bytes(&self) -> &[u8; LENGTH] {
        match &self.0 {
            Place::Heap(bytes) => bytes,
            Place::Guarded(slot) => slot.as_bytes(),
        }
    }

    /// A second copy of the secret; there is no `Clone`, so that each copy is visible in the code.
    pub fn duplicate(&self) -> Self {
        let mut copy = Self::zero();
        copy.as_mut_bytes().copy_from_slice(self.as_bytes());
        copy
    }

    pub(crate) fn zero() -> Self {
        Self(Place::Heap(Box::new([0; LENGTH])))
    }

    pub(crate) fn guarded() -> Result<Self, NoRoom> {
        Ok(Self(Place::Guarded(Slot::new()?)))
    }

    pub(crate) fn as_mut_bytes(&mut self) -> &mut [u8; LENGTH] {
        match &mut self.0 {
            Place::Heap(bytes) => bytes,
            Place::Guarded(slot) => slot.as_mut_bytes(),
        }
    }
}

impl ConstantTimeEq for Share {
    fn ct_eq(&self, other: &Self) -> Choice {
        self.as_bytes().as_slice().ct_eq(other.as_bytes().as_slice())
    }
}

impl PartialEq for Share {
    fn eq(&self, other: &Self) -> bool {
        self.ct_eq(other).into()
    }
}

impl Eq for Share {}

/// A tenant key TK: 32 bytes. `!Send`, so no future that is spawned can hold it across an await. This
/// does not compile:
///
/// ```compile_fail
/// # fn spawn(_: impl Future<Output = ()> + Send) {}
/// # async fn pause() {}
/// spawn(async {
///     let tk = trefoil_keys::secret::TenantKey::generate();
///     pause().await;
///     drop(tk);
/// });
/// ```
///
/// With the key dropped in time it does:
///
/// ```
/// # fn spawn(_: impl Future<Output = ()> + Send) {}
/// # async fn pause() {}
/// spawn(async {
///     {
///         let tk = trefoil_keys::secret::TenantKey::generate();
///     }
///     pause().await;
/// });
/// ```
pub struct TenantKey {
    bytes: Box<[u8; LENGTH]>,
    /// Made with the first key that is derived.
    extracted: OnceCell<Extracted>,
    not_send: PhantomData<*const ()>,
}

/// What work with the key has left on the stack goes with it.
impl Drop for TenantKey {
    fn drop(&mut self) {
        wipe(self.bytes.as_mut_slice());
        self.extracted.take();
        wipe_stack();
    }
}

impl ZeroizeOnDrop for TenantKey {}

impl TenantKey {
    /// A uniformly random tenant key.
    pub fn generate() -> Self {
        let mut tk = Self::zero();
        fill_random(tk.as_mut_bytes());
        tk
    }

    /// The tenant key of these bytes.
    pub fn from_bytes(bytes: Zeroizing<[u8; LENGTH]>) -> Self {
        let mut tk = Self::zero();
        tk.bytes.copy_from_slice(bytes.as_slice());
        tk
    }

    /// The 32 bytes.
    pub fn as_bytes(&self) -> &[u8; LENGTH] {
        &self.bytes
    }

    /// Fills `out` as [`crate::kdf::derive`] does.
    pub(crate) fn derive(&self, keyspace: &str, context: &[u8], purpose: Purpose, out: &mut [u8]) {
        self.extracted.get_or_init(|| Extracted::of(&self.bytes)).derive(keyspace, context, purpose, out);
    }

    pub(crate) fn zero() -> Self {
        Self { bytes: Box::new([0; LENGTH]), extracted: OnceCell::new(), not_send: PhantomData }
    }

    pub(crate) fn as_mut_bytes(&mut self) -> &mut [u8; LENGTH] {
        self.extracted.take();
        &mut self.bytes
    }
}

impl ConstantTimeEq for TenantKey {
    fn ct_eq(&self, other: &Self) -> Choice {
        self.bytes.as_slice().ct_eq(other.bytes.as_slice())
    }
}

impl PartialEq for TenantKey {
    fn eq(&self, other: &Self) -> bool {
        self.ct_eq(other).into()
    }
}

impl Eq for TenantKey {}

/// Fills with key material from the operating system's generator.
///
/// # Panics
/// When there is no randomness: no key may be made then.
pub(crate) fn fill_random(bytes: &mut [u8]) {
    assert!(SysRng.try_fill_bytes(bytes).is_ok(), "the random number generator failed");
}

/// As deep as functions go that work with keys: an optimized proxy comes to 10 KiB from where it takes a
/// message on, wherever in between a key is dropped.
const DEPTH: usize = if cfg!(debug_assertions) { 64 * 1024 } else { 16 * 1024 };

/// Overwrites the stack below the caller: what functions that have returned left there.
pub(crate) fn wipe_stack() {
    wipe_stack_of::<DEPTH>();
}

/// The same after work with keys that went through many functions: 64 KiB.
pub fn wipe_deep_stack() {
    wipe_stack_of::<{ 64 * 1024 }>();
}

#[inline(never)]
fn wipe_stack_of<const SIZE: usize>() {
    if wipes() {
        // The area is there for its zeros alone, and the compiler must not know it.
        std::hint::black_box(&mut [0_u8; SIZE]);
    }
}

#[cfg(test)]
mod tests {
    use super::{LENGTH, MalformedShare, Share, TenantKey};
    use proptest::prelude::{any, proptest};

    /// Fails to compile if the type implements the trait: then two impls fit the path.
    macro_rules! assert_not_impl {
        ($type:ty: $($banned:tt)+) => {
            const _: () = {
                trait Ambiguous<A> {
                    fn pick() {}
                }
                impl<T: ?Sized> Ambiguous<()> for T {}
                struct Banned;
                impl<T: ?Sized + $($banned)+> Ambiguous<Banned> for T {}
                let _ = <$type as Ambiguous<_>>::pick;
            };
        };
    }

    assert_not_impl!(TenantKey: Send);
    assert_not_impl!(TenantKey: Sync);
    assert_not_impl!(TenantKey: Clone);
    assert_not_impl!(TenantKey: std::fmt::Debug);
    assert_not_impl!(TenantKey: serde::Serialize);
    assert_not_impl!(Share: Clone);
    assert_not_impl!(Share: std::fmt::Debug);
    assert_not_impl!(Share: serde::Serialize);
    assert_not_impl!(crate::cell::ColumnKey: Send);
    assert_not_impl!(crate::cell::ColumnKey: Sync);
    assert_not_impl!(crate::cell::ColumnKey: Clone);
    assert_not_impl!(crate::cell::ColumnKey: std::fmt::Debug);
    assert_not_impl!(crate::share::MaskedShare: std::fmt::Debug);
    assert_not_impl!(crate::envelope::UserEnvelope: std::fmt::Debug);
    assert_not_impl!(crate::envelope::EnvelopePrivateKey: std::fmt::Debug);
    assert_not_impl!(crate::signing::SigningKey: Clone);
    assert_not_impl!(crate::signing::SigningKey: std::fmt::Debug);
    assert_not_impl!(crate::signing::SigningKey: serde::Serialize);
    assert_not_impl!(crate::proxy_share::ProxyShares: std::fmt::Debug);
    assert_not_impl!(crate::command::Delivery: std::fmt::Debug);
    assert_not_impl!(crate::handover::Handover: std::fmt::Debug);
    assert_not_impl!(crate::handover::Handover: Send);

    proptest! {
        #[test]
        fn base64url_there_and_back(bytes in any::<[u8; LENGTH]>()) {
            let share = Share::from_bytes(bytes);
            let text = share.to_base64url();
            assert_eq!(text.len(), 43);
            assert!(Share::from_base64url(&text) == Ok(share));
        }
    }

    #[test]
    fn only_canonical_base64url_is_a_share() {
        let text = "iYqLjI2Oj4CRkpOUlZaXiJmam5ydnp-QoaKjpKWmp5g";
        assert!(Share::from_base64url(text).is_ok());
        let padded = format!("{text}=");
        let long = format!("{text}AA");
        // The last character carries two bits that belong to nothing.
        let trailing_bits = text.replace("p5g", "p5h");
        let standard_alphabet = text.replace('-', "+");
        for wrong in ["", "AAAA", &text[1..], &padded, &long, &trailing_bits, &standard_alphabet, "é", " "] {
            assert!(Share::from_base64url(wrong).is_err_and(|e| e == MalformedShare), "{wrong}");
        }
    }

    #[test]
    fn random_secrets_differ() {
        assert!(Share::random() != Share::random());
        assert!(TenantKey::generate() != TenantKey::generate());
        let share = Share::random();
        assert!(share.duplicate() == share);
    }
}
