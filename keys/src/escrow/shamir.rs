//! Shamir's scheme, byte by byte over GF(256): `share x = f(x)` for x = 1, 2, …, where `f(0)` is the
//! secret and all other coefficients of `f` are uniformly random. `threshold` shares give the secret;
//! with fewer, every secret is equally likely. No table and no branch depends on a secret.

use crate::secret::Share;
use rand::rand_core::UnwrapErr;
use rand::rngs::SysRng;
use vsss_rs::{DefaultShare, Gf256, IdentifierGf256, Polynomial};
use zeroize::Zeroizing;

type Coefficient = DefaultShare<IdentifierGf256, IdentifierGf256>;

/// The shares 1 to `shares` of `secret`, in this order.
///
/// # Errors
/// Of vsss-rs, when there is no polynomial of that `threshold`.
pub(super) fn split(secret: &Share, threshold: u8, shares: u8) -> Result<Vec<Share>, vsss_rs::Error> {
    let rng = UnwrapErr(SysRng);
    let threshold = usize::from(threshold);
    let mut polynomial = Zeroizing::new(<Vec<Coefficient> as Polynomial<Coefficient>>::create(threshold));
    let mut parts: Vec<Share> = (0..shares).map(|_| Share::zero()).collect();
    let mut rows: Vec<_> = parts.iter_mut().map(|part| part.as_mut_bytes().iter_mut()).collect();
    for byte in secret.as_bytes() {
        polynomial.fill(&IdentifierGf256(Gf256(*byte)), rng, threshold)?;
        for (number, place) in (1..=shares).zip(rows.iter_mut().filter_map(Iterator::next)) {
            *place = polynomial.evaluate(&IdentifierGf256(Gf256(number)), threshold).0.0;
        }
    }
    Ok(parts)
}

/// The secret, from `threshold` or more shares with their numbers. Wrong, too few or altered shares give
/// something else.
///
/// # Errors
/// Of vsss-rs, for fewer than two shares, a number that is zero, and two of the same number.
pub(super) fn combine<'a>(
    shares: impl IntoIterator<Item = (u8, &'a Share)>,
) -> Result<Share, vsss_rs::Error> {
    let points: Vec<Vec<u8>> =
        shares.into_iter().map(|(number, share)| [[number].as_slice(), share.as_bytes()].concat()).collect();
    let points = Zeroizing::new(points);
    let bytes = Zeroizing::new(Gf256::combine_bytes(points.as_slice())?);
    let mut secret = Share::zero();
    secret
        .as_mut_bytes()
        .copy_from_slice(bytes.get(..).filter(|b| b.len() == 32).ok_or(vsss_rs::Error::InvalidShare)?);
    Ok(secret)
}

#[cfg(test)]
mod tests {
    use super::{combine, split};
    use crate::secret::Share;
    use proptest::prelude::{ProptestConfig, Strategy, any, prop, proptest};
    use std::collections::HashSet;

    /// Threshold, shares, and the numbers of as many of them as are needed, in any order.
    fn choices() -> impl Strategy<Value = (u8, u8, Vec<u8>)> {
        (2..=12_u8, 0..=12_u8).prop_flat_map(|(threshold, more)| {
            let shares = threshold + more;
            let numbers: Vec<u8> = (1..=shares).collect();
            let subset = prop::sample::subsequence(numbers, usize::from(threshold)).prop_shuffle();
            subset.prop_map(move |chosen| (threshold, shares, chosen))
        })
    }

    fn chosen<'a>(numbers: &'a [u8], shares: &'a [Share]) -> impl Iterator<Item = (u8, &'a Share)> {
        numbers.iter().map(|number| (*number, &shares[usize::from(*number) - 1]))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn any_threshold_of_the_shares_give_the_secret(
            secret in any::<[u8; 32]>(),
            (threshold, count, numbers) in choices(),
        ) {
            let secret = Share::from_bytes(secret);
            let shares = split(&secret, threshold, count).unwrap();
            assert_eq!(shares.len(), usize::from(count));
            assert!(combine(chosen(&numbers, &shares)).unwrap() == secret);
        }

        #[test]
        fn a_changed_bit_in_any_share_changes_the_secret(
            (threshold, count, numbers) in choices(),
            bit in 0..256_usize,
        ) {
            let secret = Share::random();
            let mut shares = split(&secret, threshold, count).unwrap();
            shares[usize::from(numbers[0]) - 1].as_mut_bytes()[bit / 8] ^= 1 << (bit % 8);
            assert!(combine(chosen(&numbers, &shares)).unwrap() != secret);
        }
    }

    #[test]
    fn with_one_share_missing_every_secret_is_equally_likely() {
        let shares = split(&Share::random(), 3, 5).unwrap();
        let secrets: HashSet<u8> = (0..=255)
            .map(|guess| {
                let guess = Share::from_bytes([guess; 32]);
                combine([(2, &shares[1]), (4, &shares[3]), (5, &guess)]).unwrap().as_bytes()[7]
            })
            .collect();
        assert_eq!(secrets.len(), 256);
    }

    #[test]
    fn the_smallest_and_the_largest_set() {
        let secret = Share::random();
        for (threshold, count) in [(2, 2), (2, 255), (255, 255)] {
            let shares = split(&secret, threshold, count).unwrap();
            let all: Vec<u8> = (1..=count).collect();
            assert!(combine(chosen(&all, &shares)).unwrap() == secret);
            let last = &all[all.len() - usize::from(threshold)..];
            assert!(combine(chosen(last, &shares)).unwrap() == secret);
        }
    }

    /// Computed by hand in the field of AES: f(x) = 0x53 + 0xca·x, and 0x53 · 0xca = 0x01.
    #[test]
    fn the_field_is_that_of_aes() {
        let points = [(0x01, 0x53 ^ 0xca), (0x53, 0x53 ^ 0x01)].map(|(x, y)| (x, Share::from_bytes([y; 32])));
        let secret = combine(points.iter().map(|(x, y)| (*x, y))).unwrap();
        assert_eq!(secret.as_bytes(), &[0x53; 32]);
    }

    #[test]
    fn numbers_must_differ_and_not_be_zero() {
        let (one, other) = (Share::random(), Share::random());
        assert!(combine([(1, &one)]).is_err());
        assert!(combine([(1, &one), (1, &other)]).is_err());
        assert!(combine([(0, &one), (1, &other)]).is_err());
    }
}
