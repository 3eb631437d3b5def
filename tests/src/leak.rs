//! Markers: values made to be searched for. A marker that was protected may appear nowhere beyond
//! the proxy, in none of the forms in which PostgreSQL, a driver or a mistake would write it.

use crate::{Error, Result};
use aho_corasick::AhoCorasick;
use std::fmt;

/// A value to search for, with every form that gives it away.
pub struct Marker {
    forms: Vec<(String, Vec<u8>)>,
    name: String,
}

/// Where a marker was found, in which form.
#[derive(Debug, PartialEq, Eq)]
pub struct Leak(String);

impl fmt::Display for Leak {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Marker {
    /// A marker that is text: as it is, in UTF-16, and each of these in hex and base64.
    pub fn text(text: &str) -> Self {
        let mut marker = Self { forms: Vec::new(), name: text.to_owned() };
        let wide = |order: fn(u16) -> [u8; 2]| text.encode_utf16().flat_map(order).collect::<Vec<u8>>();
        marker.add("text", text.as_bytes());
        marker.add("UTF-16LE", &wide(u16::to_le_bytes));
        marker.add("UTF-16BE", &wide(u16::to_be_bytes));
        marker
    }

    /// Adds a binary form: the bytes themselves, their hex and their base64.
    pub fn add(&mut self, what: &str, bytes: &[u8]) {
        self.forms.push((what.to_owned(), bytes.to_vec()));
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        self.forms.push((format!("hex of {what}"), hex.to_uppercase().into_bytes()));
        self.forms.push((format!("hex of {what}"), hex.into_bytes()));
        for skip in 0..3 {
            let encoded = base64_inside(bytes, skip);
            // Fewer characters stand in much that is sent by chance.
            if encoded.len() < 8 {
                continue;
            }
            self.forms.push((
                format!("base64 of {what}"),
                encoded.replace('+', "-").replace('/', "_").into_bytes(),
            ));
            self.forms.push((format!("base64 of {what}"), encoded.into_bytes()));
        }
        self.forms.retain(|(_, form)| form.len() >= 4);
        self.forms.sort();
        self.forms.dedup();
    }
}

/// A search for every form of many markers in one pass.
pub struct Search {
    automaton: AhoCorasick,
    /// By pattern: the marker's position, and what its form is called.
    patterns: Vec<(usize, String)>,
}

impl Search {
    /// Looks for these markers. Forms shorter than `shortest` bytes are left out: in megabytes of
    /// ciphertext four given bytes turn up by chance.
    pub fn new<'a>(markers: impl IntoIterator<Item = &'a Marker>, shortest: usize) -> Result<Self> {
        let mut patterns = Vec::new();
        let mut forms = Vec::new();
        for (number, marker) in markers.into_iter().enumerate() {
            for (what, form) in marker.forms.iter().filter(|(_, form)| form.len() >= shortest) {
                patterns.push((number, format!("{} as {what}", marker.name)));
                forms.push(form);
            }
        }
        let automaton = AhoCorasick::new(forms).map_err(|error| Error::new(error.to_string()))?;
        Ok(Self { automaton, patterns })
    }

    /// What is found in `bytes`: each marker's position among those looked for, and how it was found.
    pub fn leaks(&self, bytes: &[u8]) -> Vec<(usize, Leak)> {
        let found = self.automaton.find_overlapping_iter(bytes);
        let mut leaks: Vec<_> =
            found.filter_map(|found| self.patterns.get(found.pattern().as_usize()).cloned()).collect();
        leaks.sort();
        leaks.dedup();
        leaks.into_iter().map(|(number, what)| (number, Leak(what))).collect()
    }
}

/// The base64 of `bytes` as it stands inside a longer encoding, `skip` bytes after a group's start:
/// only the characters that depend on nothing but `bytes`.
fn base64_inside(bytes: &[u8], skip: usize) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let bits = |index: usize| {
        let bit = |at: usize| {
            let byte = (at / 8).checked_sub(skip).and_then(|byte| bytes.get(byte))?;
            Some(usize::from(byte >> (7 - at % 8) & 1))
        };
        (index * 6..index * 6 + 6).try_fold(0, |sum, at| Some(sum << 1 | bit(at)?))
    };
    (0..(skip + bytes.len()) * 8 / 6)
        .filter_map(|index| ALPHABET.get(bits(index)?).map(|character| char::from(*character)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_form_is_found() {
        let search = Search::new([&Marker::text("MRK0042QX")], 4).unwrap();
        for place in [
            &b"..MRK0042QX.."[..],
            b"4d524b303034325158",
            b"4D524B303034325158",
            b"M\0R\0K\x000\x000\x004\x002\0Q\0X\0",
            b"TVJLMDA0MlFY",
            b"xxMRK0042QXyy",
        ] {
            assert!(!search.leaks(place).is_empty(), "{}", String::from_utf8_lossy(place));
        }
        // `ab` and `a` in front: base64 shifted by two bytes and by one.
        assert!(!search.leaks(b"YWJNUkswMDQyUVg=").is_empty());
        assert!(!search.leaks(b"YU1SSzAwNDJRWA==").is_empty());
        assert_eq!(search.leaks(b"MRK0043QX MRK0042"), []);
    }
}
