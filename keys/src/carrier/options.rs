//! Carrier 3 at start-up: `trefoil.*` settings inside the startup parameter `options`, written as
//! `-c trefoil.user=…`, `-ctrefoil.user=…` or `--trefoil.user=…` and split as PostgreSQL splits it:
//! white space ends a word, `\` takes the next byte as it is, `-` in a name is `_`.

use super::{Carriers, MalformedCarrier, is_space};
use zeroize::Zeroizing;

/// Takes `trefoil.*` settings off the value of `options` into `carriers` (the last one counts, as
/// in PostgreSQL) and returns the options that are left, byte for byte.
///
/// An error is a value that no carrier may have, a setting `trefoil.…` that is none of ours, or a
/// share or envelope that would stay behind.
pub fn take(options: &[u8], carriers: &mut Carriers) -> Result<Vec<u8>, MalformedCarrier> {
    let mut left = Vec::with_capacity(options.len());
    let mut rest = options;
    while !rest.is_empty() {
        let (word, mut after) = next_word(rest);
        let argument;
        let setting = if word.as_slice() == b"-c" {
            (argument, after) = next_word(after);
            Some(argument.as_slice())
        } else {
            word.strip_prefix(b"--").or_else(|| word.strip_prefix(b"-c"))
        };
        if !accept(setting.unwrap_or_default(), carriers)? {
            if names_share(setting.unwrap_or(&word)) {
                return Err(MalformedCarrier::Elsewhere);
            }
            left.extend_from_slice(rest.get(..rest.len() - after.len()).unwrap_or_default());
        }
        rest = after;
    }
    Ok(left)
}

/// All settings `name=value` in the value of `options`, in their order; what is not UTF-8 is left out.
pub fn settings(options: &[u8]) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut rest = options;
    while !rest.is_empty() {
        let (word, mut after) = next_word(rest);
        let argument;
        let setting = if word.as_slice() == b"-c" {
            (argument, after) = next_word(after);
            Some(argument.as_slice())
        } else {
            word.strip_prefix(b"--").or_else(|| word.strip_prefix(b"-c"))
        };
        let setting = setting.and_then(|setting| str::from_utf8(setting).ok()?.split_once('='));
        found.extend(setting.map(|(name, value)| (name.replace('-', "_"), value.to_owned())));
        rest = after;
    }
    found
}

/// The first word, unescaped, and what follows it.
fn next_word(text: &[u8]) -> (Zeroizing<Vec<u8>>, &[u8]) {
    let mut word = Zeroizing::new(Vec::with_capacity(text.len()));
    let mut rest = text.get(text.iter().take_while(|&&byte| is_space(byte)).count()..).unwrap_or_default();
    while let Some((&byte, tail)) = rest.split_first() {
        let (byte, tail) = match (byte, tail) {
            (b'\\', [next, tail @ ..]) => (*next, tail),
            (b'\\', []) => (b'\\', tail),
            (byte, _) if is_space(byte) => break,
            (byte, tail) => (byte, tail),
        };
        word.push(byte);
        rest = tail;
    }
    (word, rest)
}

/// Takes `name=value` if the name is one of ours.
fn accept(setting: &[u8], carriers: &mut Carriers) -> Result<bool, MalformedCarrier> {
    let Some((name, value)) =
        setting.iter().position(|&byte| byte == b'=').and_then(|at| setting.split_at_checked(at))
    else {
        return Ok(false);
    };
    let Ok(name) = str::from_utf8(name) else { return Ok(false) };
    carriers.set(&name.replace('-', "_"), value.strip_prefix(b"=").unwrap_or(value))
}

/// Whether a word that stays names a share or an envelope, in any case.
fn names_share(word: &[u8]) -> bool {
    [&b"trefoil.envelope"[..], b"trefoil.app_share", b"trefoil.app-share"]
        .iter()
        .any(|name| word.windows(name.len()).any(|window| window.eq_ignore_ascii_case(name)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(options: &str) -> Result<(Carriers, String), MalformedCarrier> {
        let mut carriers = Carriers::default();
        let left = take(options.as_bytes(), &mut carriers)?;
        Ok((carriers, String::from_utf8(left).unwrap()))
    }

    #[test]
    fn every_form() {
        let (carriers, left) = read(
            "-c a=1 -c trefoil.user=al\\ ice --search_path=x\\ y -ctrefoil.envelope=e.f  --Trefoil.app-share=s -d 1",
        )
        .unwrap();
        assert_eq!(carriers.user.as_deref(), Some("al ice"));
        assert_eq!(carriers.envelope.as_deref(), Some("e.f"));
        assert_eq!(carriers.app_share.unwrap().as_str(), "s");
        assert_eq!(left, "-c a=1 --search_path=x\\ y -d 1");
        let (carriers, left) = read("-c tre\\foil.user=a -c trefoil.user=b").unwrap();
        assert_eq!((carriers.user.as_deref(), left.as_str()), (Some("b"), ""));
        assert!(read("-c trefoil.user=a -c trefoil.user=").unwrap().0.user.is_none());
    }

    #[test]
    fn everybodys_settings() {
        let found = settings(b"-c a=1 --search-path=x\\ y -d 1 -cb.c=d=e -c \xff=1 -e");
        let found: Vec<_> = found.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(found, [("a", "1"), ("search_path", "x y"), ("b.c", "d=e")]);
    }

    #[test]
    fn refused() {
        let reason = |options| read(options).err();
        assert_eq!(reason("-c trefoil.usr=a"), Some(MalformedCarrier::UnknownKey));
        assert_eq!(reason("-Bctrefoil.envelope=a"), Some(MalformedCarrier::Elsewhere));
        assert_eq!(reason("-c trefoil.envelope"), Some(MalformedCarrier::Elsewhere));
        assert_eq!(reason("-c trefoil.user=\x01"), Some(MalformedCarrier::NotPrintable));
    }

    proptest! {
        #[test]
        fn others_stay(options in "[-c =a-s\\\\\t]{0,60}") {
            let (carriers, left) = read(&options).unwrap();
            prop_assert!(carriers.user.is_none());
            prop_assert_eq!(left, options);
        }
    }
}
