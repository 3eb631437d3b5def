//! `TK = TKu ⊕ TKa ⊕ TKp`: splitting a tenant key for one user, putting it together again, and the
//! form in which a proxy keeps TKu between two requests. Two shares say nothing about TK.

use crate::kdf::{Extracted, Purpose};
use crate::secret::{LENGTH, Share, TenantKey, wipe_stack};
use trefoil_arena::NoRoom;

/// The three shares of one tenant key for one user.
pub struct Triple {
    /// TKu, which reaches the proxy in the user's envelope.
    pub user: Share,
    /// TKa, which the application attaches to each request.
    pub application: Share,
    /// TKp, which the proxy stores.
    pub proxy: Share,
}

/// `TKa, TKp` uniform, `TKu = TK ⊕ TKa ⊕ TKp`; a fresh triple on each call.
pub fn split(tk: &TenantKey) -> Triple {
    let application = Share::random();
    let proxy = Share::random();
    let mut user = Share::zero();
    for part in [tk.as_bytes(), application.as_bytes(), proxy.as_bytes()] {
        xor_into(user.as_mut_bytes(), part);
    }
    Triple { user, application, proxy }
}

/// A fresh TKa and `TKp = TK ⊕ TKu ⊕ TKa` beside a TKu that stays as it is.
pub fn split_beside(tk: &TenantKey, user: &Share) -> Triple {
    let application = Share::random();
    let mut proxy = Share::zero();
    for part in [tk.as_bytes(), user.as_bytes(), application.as_bytes()] {
        xor_into(proxy.as_mut_bytes(), part);
    }
    Triple { user: user.duplicate(), application, proxy }
}

/// `TK = TKu ⊕ TKa ⊕ TKp`, in any order. Any three shares give a key: compare it with the check value
/// ([`crate::check::verify`]) before use.
pub fn combine(user: &Share, application: &Share, proxy: &Share) -> TenantKey {
    let mut tk = TenantKey::zero();
    for share in [user, application, proxy] {
        xor_into(tk.as_mut_bytes(), share.as_bytes());
    }
    tk
}

/// `TKu ⊕ HKDF(TKa, keyspace ‖ envelope hash)`: what a proxy keeps of a validated envelope. Without TKa,
/// which comes anew with each request, it is as good as random; it lies in guarded memory all the same.
pub struct MaskedShare(Share);

impl MaskedShare {
    /// Masks TKu of one keyspace. `envelope_hash` is [`crate::envelope::hash`] of the envelope.
    ///
    /// # Errors
    /// [`NoRoom`].
    pub fn mask(
        user: &Share,
        application: &Share,
        envelope_hash: &[u8; 32],
        keyspace: &str,
    ) -> Result<Self, NoRoom> {
        let mut masked = Share::guarded()?;
        with_mask(user.as_bytes(), application, envelope_hash, keyspace, &mut masked);
        wipe_stack();
        Ok(Self(masked))
    }

    /// TKu again, if `application`, hash and keyspace are those that it was masked with; else a wrong
    /// share, which the check value finds out. The stack is wiped with the tenant key that it is for.
    pub fn unmask(&self, application: &Share, envelope_hash: &[u8; 32], keyspace: &str) -> Share {
        let mut user = Share::zero();
        with_mask(self.0.as_bytes(), application, envelope_hash, keyspace, &mut user);
        user
    }
}

fn with_mask(
    input: &[u8; LENGTH],
    application: &Share,
    envelope_hash: &[u8; 32],
    keyspace: &str,
    output: &mut Share,
) {
    let mask = Extracted::of(application.as_bytes());
    mask.derive(keyspace, envelope_hash, Purpose::ShareMask, output.as_mut_bytes());
    xor_into(output.as_mut_bytes(), input);
}

fn xor_into(target: &mut [u8; LENGTH], source: &[u8; LENGTH]) {
    for (t, s) in target.iter_mut().zip(source) {
        *t ^= s;
    }
}

#[cfg(test)]
mod tests {
    use super::{MaskedShare, combine, split, split_beside};
    use crate::secret::{Share, TenantKey};
    use proptest::prelude::{any, proptest};

    proptest! {
        #[test]
        fn three_shares_give_the_key(bytes in any::<[u8; 32]>()) {
            let tk = TenantKey::from_bytes(bytes.into());
            let triple = split(&tk);
            assert!(combine(&triple.user, &triple.application, &triple.proxy) == tk);
            assert!(combine(&triple.proxy, &triple.user, &triple.application) == tk);
        }

        #[test]
        fn new_shares_beside_an_old_one_give_the_same_key(bytes in any::<[u8; 32]>()) {
            let tk = TenantKey::from_bytes(bytes.into());
            let old = split(&tk);
            let new = split_beside(&tk, &old.user);
            assert!(new.user == old.user && new.application != old.application && new.proxy != old.proxy);
            assert!(combine(&new.user, &new.application, &new.proxy) == tk);
            assert!(combine(&old.user, &new.application, &old.proxy) != tk);
            assert!(combine(&old.user, &old.application, &new.proxy) != tk);
        }

        #[test]
        fn a_changed_bit_gives_another_key(bytes in any::<[u8; 32]>(), which in 0..3_usize, bit in 0..256_usize) {
            let tk = TenantKey::from_bytes(bytes.into());
            let triple = split(&tk);
            let mut shares = [triple.user, triple.application, triple.proxy].map(|s| *s.as_bytes());
            shares[which][bit / 8] ^= 1_u8 << (bit % 8);
            let [user, application, proxy] = shares.map(Share::from_bytes);
            assert!(combine(&user, &application, &proxy) != tk);
        }

        #[test]
        fn only_the_same_application_share_and_envelope_unmask(user in any::<[u8; 32]>(), hash in any::<[u8; 32]>()) {
            let user = Share::from_bytes(user);
            let application = Share::random();
            let masked = MaskedShare::mask(&user, &application, &hash, "main").unwrap();
            assert!(masked.0 != user);
            assert!(masked.unmask(&application, &hash, "main") == user);
            assert!(masked.unmask(&Share::random(), &hash, "main") != user);
            assert!(masked.unmask(&application, &hash.map(|byte| !byte), "main") != user);
            assert!(masked.unmask(&application, &hash, "billing") != user);
        }
    }

    #[test]
    fn each_split_is_a_fresh_one() {
        let tk = TenantKey::generate();
        let (one, other) = (split(&tk), split(&tk));
        assert!(one.user != other.user && one.application != other.application && one.proxy != other.proxy);
        assert!(combine(&one.user, &other.application, &one.proxy) != tk);
    }
}
