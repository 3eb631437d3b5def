//! Bytes as PostgreSQL writes them in hexadecimal digits: the crate `const-hex`, which takes many at once.

/// Appends two lower-case digits for each byte.
pub fn push(bytes: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    out.resize(start + 2 * bytes.len(), 0);
    if let Some(digits) = out.get_mut(start..) {
        // Fails only where the lengths do not fit.
        let _ = const_hex::encode_to_slice(bytes, digits);
    }
}

/// Appends the bytes of pairs of digits of either case; nothing, and false, if these are no such pairs.
pub fn read(digits: &[u8], out: &mut Vec<u8>) -> bool {
    let start = out.len();
    out.resize(start + digits.len() / 2, 0);
    // The crate would pass over a prefix `0x`, and then lengths do not fit.
    let read = digits.len().is_multiple_of(2)
        && out.get_mut(start..).is_some_and(|bytes| const_hex::decode_to_slice(digits, bytes).is_ok());
    if !read {
        out.truncate(start);
    }
    read
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::proptest;

    proptest! {
        #[test]
        fn bytes_come_back(bytes: Vec<u8>) {
            let (mut digits, mut back) = (b"\\x".to_vec(), b"before".to_vec());
            push(&bytes, &mut digits);
            let expected: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(digits, format!("\\x{expected}").as_bytes());
            assert!(read(&digits[2..].to_ascii_uppercase(), &mut back));
            assert_eq!(back, [b"before", bytes.as_slice()].concat());
        }

        #[test]
        fn what_are_no_digits_leaves_nothing(mut digits in "([0-9a-fA-F]{2}){1,40}", at: proptest::sample::Index) {
            let at = at.index(digits.len());
            digits.replace_range(at..=at, "g");
            let mut out = b"before".to_vec();
            assert!(!read(digits.as_bytes(), &mut out));
            assert_eq!(out, b"before");
        }
    }

    #[test]
    fn pairs_are_whole_and_have_no_prefix() {
        for wrong in [&b"1"[..], b"0x", b"0x12", b"0X12", b" 12", b"12 34", b"\xc3\xa912"] {
            assert!(!read(wrong, &mut Vec::new()), "{}", wrong.escape_ascii());
        }
    }
}
