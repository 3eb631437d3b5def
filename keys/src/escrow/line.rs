//! A numbered line of a sheet: 25 bytes as 40 characters of Crockford's base 32 in groups of five, and 6
//! characters of checksum.
//!
//! The checksum is the BCH code of BIP-350 (Bech32m) over what the line belongs to, its number, and its
//! characters. Up to four wrong characters, so every single one and every two that are swapped, and a
//! line that stands at another's place, are always found; of anything else one in 2³⁰ is not.

use bech32::Bech32m;
use bech32::primitives::checksum::{Checksum, Engine, PackedFe32};
use bech32::primitives::gf32::Fe32;
use bech32::primitives::iter::{ByteIterExt, Fe32IterExt};
use std::collections::BTreeMap;
use zeroize::Zeroizing;

/// Bytes in a line.
pub(super) const BYTES: usize = 25;
const SYMBOLS: usize = 40;
const CHECKSUM: usize = 6;
const GROUP: usize = 5;

/// Digits and letters without I, L, O, U.
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// What is wrong with a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// There is no line of that number.
    #[error("is missing")]
    Missing,
    /// Two lines have that number.
    #[error("is there twice")]
    Twice,
    /// The sheet ends before it.
    #[error("is one more than the sheet has")]
    Extra,
    /// Not 46 characters after the number.
    #[error("has {0} letters and digits instead of 46")]
    Length(usize),
    /// A character that no line has.
    #[error("has at place {0} what is no character of any sheet")]
    Character(usize),
    /// The checksum does not fit.
    #[error("has a wrong character or two swapped ones, or belongs to another sheet")]
    Checksum,
}

/// The characters of one line as numbers from 0 to 31.
type Symbols = Zeroizing<Vec<u8>>;

/// The numbered lines of a text, whatever stands between them.
pub(super) struct Lines(BTreeMap<u8, Result<Symbols, Problem>>);

impl Lines {
    /// Finds the lines that begin with a number.
    pub(super) fn find(text: &str) -> Self {
        let mut lines = BTreeMap::new();
        for (number, symbols) in text.lines().filter_map(numbered) {
            lines.entry(number).and_modify(|line| *line = Err(Problem::Twice)).or_insert(symbols);
        }
        Self(lines)
    }

    /// The 25 bytes of one line, if its checksum fits.
    pub(super) fn bytes(&self, number: u8, context: &[u8]) -> Result<Zeroizing<Vec<u8>>, Problem> {
        let symbols = self.0.get(&number).ok_or(Problem::Missing)?.as_ref().map_err(|problem| *problem)?;
        let fes = || symbols.iter().filter_map(|symbol| Fe32::try_from(*symbol).ok());
        if residue(number, context, fes()) != Bech32m::TARGET_RESIDUE {
            return Err(Problem::Checksum);
        }
        let mut bytes = Zeroizing::new(Vec::with_capacity(BYTES));
        bytes.extend(fes().take(SYMBOLS).fes_to_bytes());
        Ok(bytes)
    }

    /// The highest number of a line, 0 without any.
    pub(super) fn last(&self) -> u8 {
        self.0.last_key_value().map_or(0, |(number, _)| *number)
    }
}

/// Appends the line of up to 25 `bytes`, which zeros make up to 25.
pub(super) fn print(number: u8, context: &[u8], bytes: &[u8], out: &mut String) {
    let padded = bytes.iter().copied().chain(std::iter::repeat(0)).take(BYTES);
    let data = padded.bytes_to_fes();
    let mut engine = engine(number, context);
    let before = out.len();
    out.push_str(&format!("{number:3}"));
    out.push(' ');
    for (place, symbol) in data.enumerate() {
        if place % GROUP == 0 {
            out.push(' ');
        }
        out.push(character(symbol));
        engine.input_fe(symbol);
    }
    engine.input_target_residue();
    out.push_str("  ");
    for place in (0..CHECKSUM).rev() {
        out.push(Fe32::try_from(engine.residue().unpack(place)).map_or('?', character));
    }
    debug_assert_eq!(out.len() - before, 3 + 1 + SYMBOLS + SYMBOLS / GROUP + 2 + CHECKSUM);
    out.push('\n');
}

/// `bytes` without groups and checksum, for names.
pub(super) fn characters(bytes: &[u8]) -> String {
    bytes.iter().copied().bytes_to_fes().map(character).collect()
}

fn character(symbol: Fe32) -> char {
    ALPHABET.get(usize::from(symbol.to_u8())).map_or('?', |byte| char::from(*byte))
}

fn engine(number: u8, context: &[u8]) -> Engine<Bech32m> {
    let mut engine = Engine::new();
    context.iter().copied().chain([number]).bytes_to_fes().for_each(|symbol| engine.input_fe(symbol));
    engine
}

fn residue(number: u8, context: &[u8], symbols: impl Iterator<Item = Fe32>) -> u32 {
    let mut engine = engine(number, context);
    symbols.for_each(|symbol| engine.input_fe(symbol));
    *engine.residue()
}

/// A line that begins with a number from 1 to 255: the number, and the line's symbols. Everything but
/// letters and digits is layout.
fn numbered(line: &str) -> Option<(u8, Result<Symbols, Problem>)> {
    let line = line.trim_start_matches(|c: char| !c.is_alphanumeric());
    let (number, rest) = line.split_once(char::is_whitespace)?;
    let number = number.trim_end_matches(|c: char| !c.is_alphanumeric());
    // A word of "I", "l" and "O" is a word.
    if !number.contains(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let number = number.chars().try_fold(0_u8, |value, c| {
        let digit = symbol(c).filter(|digit| *digit < 10)?;
        value.checked_mul(10)?.checked_add(digit)
    })?;
    (number > 0).then(|| (number, symbols(rest)))
}

fn symbols(text: &str) -> Result<Symbols, Problem> {
    let characters = || text.chars().filter(|c| c.is_alphanumeric());
    let count = characters().count();
    if count != SYMBOLS + CHECKSUM {
        return Err(Problem::Length(count));
    }
    let mut symbols = Zeroizing::new(Vec::with_capacity(count));
    for (place, c) in characters().enumerate() {
        symbols.push(symbol(c).ok_or(Problem::Character(place + 1))?);
    }
    Ok(symbols)
}

/// The value of a character; case does not matter, nor does O for 0, and I or L for 1.
fn symbol(c: char) -> Option<u8> {
    let c = match c.to_ascii_uppercase() {
        'O' => '0',
        'I' | 'L' => '1',
        c => c,
    };
    let place = ALPHABET.iter().position(|byte| char::from(*byte) == c)?;
    u8::try_from(place).ok()
}

#[cfg(test)]
mod tests {
    use super::{ALPHABET, BYTES, Lines, Problem, print};
    use proptest::prelude::{any, prop, proptest};

    const CONTEXT: &[u8] = b"set-a";

    fn printed(number: u8, bytes: &[u8]) -> String {
        let mut out = String::new();
        print(number, CONTEXT, bytes, &mut out);
        out
    }

    fn read(text: &str, number: u8) -> Result<Vec<u8>, Problem> {
        Lines::find(text).bytes(number, CONTEXT).map(|bytes| bytes.to_vec())
    }

    proptest! {
        #[test]
        fn there_and_back(number in 1..=255_u8, bytes in any::<[u8; BYTES]>()) {
            let line = printed(number, &bytes);
            assert_eq!(read(&line, number).unwrap(), bytes);
            assert!(line.is_ascii() && line.len() < 65);
        }

        #[test]
        fn up_to_four_wrong_characters_are_found(
            bytes in any::<[u8; BYTES]>(),
            changes in prop::collection::btree_map(0..46_usize, 1..32_usize, 1..=4),
        ) {
            let line = printed(7, &bytes);
            let places: Vec<usize> = line.char_indices().skip(4).filter(|(_, c)| c.is_alphanumeric()).map(|(i, _)| i).collect();
            let mut changed = line.into_bytes();
            for (place, by) in changes {
                let byte = &mut changed[places[place]];
                let value = ALPHABET.iter().position(|c| c == byte).unwrap();
                *byte = ALPHABET[(value + by) % 32];
            }
            assert_eq!(read(&String::from_utf8(changed).unwrap(), 7), Err(Problem::Checksum));
        }

        #[test]
        fn nothing_makes_the_reader_panic(text in "\\PC*|([0-9]{1,4} [0-9A-Z ]{40,60}\n){0,4}") {
            let lines = Lines::find(&text);
            for number in 0..=255 {
                let _ = lines.bytes(number, CONTEXT);
            }
        }
    }

    #[test]
    fn a_line_of_another_place_or_set_does_not_fit() {
        let line = printed(7, &[9; BYTES]);
        let moved = line.replacen("  7", "  8", 1);
        assert_eq!(read(&moved, 8), Err(Problem::Checksum));
        let lines = Lines::find(&line);
        assert_eq!(lines.bytes(7, b"set-b").map(|_| ()), Err(Problem::Checksum));
        assert_eq!(lines.bytes(7, b"").map(|_| ()), Err(Problem::Checksum));
    }

    #[test]
    fn layout_and_look_alikes_do_not_matter() {
        let bytes: Vec<u8> = (0..25).map(|i| i * 9).collect();
        let line = printed(10, &bytes);
        let tight: String = line.trim_start().replacen(' ', "\t", 1).replace(' ', "");
        let look_alike = line.to_lowercase().replace('0', "o").replacen("1o", "10", 1).replace('1', "l");
        for text in [
            line.to_lowercase(),
            tight,
            line.trim_start().replace("  ", " - ").replace(' ', "\u{a0}").replacen("10\u{a0}", "10. ", 1),
            format!("My own sheet\r\nI keep it at home\r\n{}\r\n", line.trim_end()),
            line.replace('0', "O").replacen("1O", "1o", 1).replacen('1', "I", 0),
            look_alike.replacen("l0", "10", 1),
        ] {
            assert_eq!(read(&text, 10).as_deref(), Ok(bytes.as_slice()), "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_told() {
        let line = printed(3, &[200; BYTES]);
        assert_eq!(read(&line, 4), Err(Problem::Missing));
        assert_eq!(read(&format!("{line}{line}"), 3), Err(Problem::Twice));
        assert_eq!(read(&line[..line.len() - 2], 3), Err(Problem::Length(45)));
        assert_eq!(read(&format!("{}7", line.trim_end()), 3), Err(Problem::Length(47)));
        let last = line.trim_end().len() - 1;
        let unknown = format!("{}U", &line[..last]);
        assert_eq!(read(&unknown, 3), Err(Problem::Character(46)));
    }

    /// An alphabet that is its own: a word of letters alone is no number of a line.
    #[test]
    fn prose_is_no_line() {
        for text in ["", "I will", "of 5", "300 people", "0 x", "12", "--- -", "Oil 1"] {
            assert_eq!(Lines::find(text).last(), 0, "{text}");
        }
        assert_eq!(Lines::find("l2 x").last(), 12);
    }
}
