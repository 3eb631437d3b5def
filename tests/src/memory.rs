//! Looks for secrets in the memory of another process, through `/proc/…/mem`: in raw form, in hexadecimal
//! and in base64, wherever in a text they may begin. Half a secret counts: what was freed is soon overwritten
//! in part. Whoever looks must be root, or the process dumpable.

use crate::{Error, Result};
use aho_corasick::AhoCorasick;
use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;

/// What is read at once.
const PIECE: usize = 1 << 20;
const PAGE: usize = 4096;

/// Secrets by name, in all their forms.
pub struct Search {
    forms: Vec<(String, &'static str)>,
    automaton: AhoCorasick,
    longest: usize,
}

/// What was looked through, and what was found.
pub struct Found {
    /// Name, form and mapping of each secret that is there, with how often.
    pub secrets: BTreeMap<String, usize>,
    /// Bytes that were read and are not zero.
    pub bytes: usize,
    /// Mappings that cannot be read.
    pub unreadable: Vec<String>,
}

impl Search {
    /// For these secrets of 32 bytes, by name.
    pub fn new<'s>(secrets: impl IntoIterator<Item = (&'s str, [u8; 32])>) -> Result<Self> {
        let (mut forms, mut needles) = (Vec::new(), Vec::new());
        for (name, secret) in secrets {
            for half in secret.chunks(16) {
                for (form, needle) in written(half) {
                    forms.push((name.to_owned(), form));
                    needles.push(needle);
                }
            }
        }
        let longest = needles.iter().map(Vec::len).max().unwrap_or(0);
        let automaton = AhoCorasick::new(&needles).map_err(|error| Error::new(error.to_string()))?;
        Ok(Self { forms, automaton, longest })
    }

    /// Looks through all that a process has mapped.
    pub fn through(&self, process: u32) -> Result<Found> {
        let memory = File::open(format!("/proc/{process}/mem"))?;
        let maps = std::fs::read_to_string(format!("/proc/{process}/maps"))?;
        let mut found = Found { secrets: BTreeMap::new(), bytes: 0, unreadable: Vec::new() };
        for line in maps.lines() {
            let mut words = line.split_whitespace();
            let range = words.next().and_then(|range| range.split_once('-'));
            let Some((start, end)) = range else { continue };
            let rights = words.next().unwrap_or_default();
            let name = words.nth(3).unwrap_or("anonymous");
            let address = |text| u64::from_str_radix(text, 16).map_err(|error| Error::new(error.to_string()));
            let (start, end) = (address(start)?, address(end)?);
            // Neither the kernel's own pages nor guards hold anything of the process's.
            if rights.starts_with('r') && !name.starts_with("[v") {
                self.mapping(&memory, start..end, name, &mut found);
            }
        }
        Ok(found)
    }

    fn mapping(&self, memory: &File, range: std::ops::Range<u64>, name: &str, found: &mut Found) {
        const ZEROS: [u8; PAGE] = [0; PAGE];
        // What is carried over joins the pieces, so that nothing is cut in two.
        let mut text: Vec<u8> = Vec::with_capacity(PIECE + self.longest);
        let mut buffer = vec![0; PIECE];
        let mut at = range.start;
        while at < range.end {
            let left = usize::try_from(range.end - at).unwrap_or(PIECE).min(PIECE);
            let piece = buffer.get_mut(..left).unwrap_or_default();
            if memory.read_exact_at(piece, at).is_err() {
                found.unreadable.push(name.to_owned());
                return;
            }
            for page in piece.chunks(PAGE) {
                if page == ZEROS {
                    text.clear();
                } else {
                    found.bytes += page.len();
                    text.extend_from_slice(page);
                    self.look(&mut text, name, &mut found.secrets);
                }
            }
            at += u64::try_from(left).unwrap_or(u64::MAX);
        }
    }

    /// Looks through a text, and leaves of it what may be the beginning of a secret.
    fn look(&self, text: &mut Vec<u8>, name: &str, secrets: &mut BTreeMap<String, usize>) {
        let mut end = text.len().saturating_sub(self.longest - 1);
        for found in self.automaton.find_iter(text.as_slice()) {
            end = end.max(found.end());
            if let Some((secret, form)) = self.forms.get(found.pattern().as_usize()) {
                *secrets.entry(format!("{secret} as {form} in {name}")).or_default() += 1;
            }
        }
        text.drain(..end);
    }
}

/// The forms in which a secret may be written down. In base64 it begins at any of three places of a group
/// of four letters; the letters that it shares with its neighbours are left out.
fn written(secret: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let hex = |digits: &[u8; 16]| -> Vec<u8> {
        let digit = |half: u8| digits.get(usize::from(half)).copied().unwrap_or(b'?');
        secret.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
    };
    let mut forms = vec![
        ("raw bytes", secret.to_vec()),
        ("hexadecimal", hex(b"0123456789abcdef")),
        ("hexadecimal", hex(b"0123456789ABCDEF")),
    ];
    for last in [b"+/", b"-_"] {
        for before in 0..3 {
            forms.push(("base64", base64(secret, before, last)));
        }
    }
    forms.dedup();
    forms
}

/// The letters that depend on the secret alone, with `before` bytes of something else in front.
fn base64(secret: &[u8], before: usize, last: &[u8; 2]) -> Vec<u8> {
    let bits: Vec<u8> = secret.iter().flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1)).collect();
    let shared = (6 - before * 8 % 6) % 6;
    let letters = bits.get(shared..).unwrap_or_default().chunks_exact(6);
    letters
        .map(|bits| match bits.iter().fold(0, |value, bit| value << 1 | bit) {
            value @ 0..26 => b'A' + value,
            value @ 26..52 => b'a' + value - 26,
            value @ 52..62 => b'0' + value - 52,
            62 => last[0],
            _ => last[1],
        })
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test")]

    use super::{Search, base64, written};
    use base64ct::{Base64, Base64UrlUnpadded, Encoding};

    const SECRET: [u8; 32] = *b"\xfb\xff\xfe0123456789abcdefghijklmnopqrs";

    #[test]
    fn base64_is_found_wherever_it_begins() {
        for before in 0..3 {
            let text: Vec<u8> = [&b"xyz"[..before], &SECRET, b"after"].concat();
            let (standard, url) = (Base64::encode_string(&text), Base64UrlUnpadded::encode_string(&text));
            let has = |text: &str, last| {
                memchr::memmem::find(text.as_bytes(), &base64(&SECRET, before, last)).is_some()
            };
            assert!(has(&standard, b"+/") && has(&url, b"-_"), "{before}");
            assert!(base64(&SECRET, before, b"+/").len() >= 41);
            assert!(base64(&SECRET[..16], before, b"+/").len() >= 20);
        }
        assert_eq!(written(&SECRET).len(), 9);
    }

    #[test]
    fn what_a_process_holds_is_found() {
        let held = std::hint::black_box(Box::new(SECRET.map(|byte| byte ^ 0x55)));
        let found = Search::new([("secret", *held)]).unwrap().through(std::process::id()).unwrap();
        assert!(found.bytes > 100_000 && found.secrets.keys().any(|secret| secret.contains("raw bytes")));
        drop(held);
    }
}
