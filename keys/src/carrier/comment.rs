//! Carrier 2: an SQLCommenter comment, `/*trefoil_user='…',trefoil_envelope='…'*/`, as the first or
//! last comment of the text; white space and `;` may surround it. Its pairs are taken off, every
//! other byte stays, and error positions count in what is left.
//!
//! No SQL is parsed. What stands first and looks like a comment is one. What stands last and looks
//! like a carrier is a comment too, or lies in a line comment, or the text is one that PostgreSQL
//! refuses: were it the end of a literal, that literal would not be closed.

use super::{Carriers, MAX_VALUE, MalformedCarrier, checked, is_space};
use memchr::{memchr2_iter, memmem};
use std::ops::Range;
use zeroize::Zeroizing;

/// A text with its carriers taken off.
pub struct Taken {
    /// What the comments brought; values without content are `None`.
    pub carriers: Carriers,
    /// The text that is left. A comment in which nothing else stood is gone altogether.
    pub text: Vec<u8>,
}

/// Takes the carriers off a statement text; `None` where it has none, which costs one search for
/// underscores. An error is also any text in which a share or an envelope would stay behind.
pub fn take(text: &[u8]) -> Result<Option<Taken>, MalformedCarrier> {
    if !mentions(text, b"") && memmem::find(text, b"trefoil.").is_none() {
        return Ok(None);
    }
    let mut taken = Taken { carriers: Carriers::default(), text: Vec::with_capacity(text.len()) };
    let mut seen = [false; 3];
    let mut copied = 0;
    let first = leading(text);
    let last = trailing(text).filter(|last| first.as_ref() != Some(last));
    for comment in [first, last].into_iter().flatten() {
        let Some(content) = text.get(comment.start + 2..comment.end - 2) else { continue };
        // The setting's name: elsewhere SQL has it with good reason, in a comment it is a misspelt carrier.
        let lower = content.to_ascii_lowercase();
        if [&b"trefoil.envelope"[..], b"trefoil.app_share"]
            .iter()
            .any(|name| memmem::find(&lower, name).is_some())
        {
            return Err(MalformedCarrier::Elsewhere);
        }
        let Some(pairs) = pairs(content) else {
            if mentions(content, b"user=") {
                return Err(MalformedCarrier::Encoding);
            }
            continue;
        };
        let mut kept = Vec::new();
        for pair in &pairs {
            if !accept(pair, &mut seen, &mut taken.carriers)? {
                kept.push(pair.whole);
            }
        }
        if kept.len() == pairs.len() {
            continue;
        }
        taken.text.extend_from_slice(text.get(copied..comment.start).unwrap_or_default());
        copied = comment.end;
        if !kept.is_empty() {
            taken.text.extend_from_slice(b"/*");
            taken.text.extend_from_slice(&kept.join(&b','));
            taken.text.extend_from_slice(b"*/");
        }
    }
    taken.text.extend_from_slice(text.get(copied..).unwrap_or_default());
    if mentions(&taken.text, b"envelope") || mentions(&taken.text, b"app_share") {
        return Err(MalformedCarrier::Elsewhere);
    }
    Ok(seen.contains(&true).then_some(taken))
}

/// The value that somebody else's key has in the first or last comment of a text; `None` where neither has
/// the key. An error is also a comment that has it in another form than SQLCommenter's.
pub fn tag(text: &[u8], key: &str) -> Result<Option<String>, MalformedCarrier> {
    if memmem::find(text, key.as_bytes()).is_none() {
        return Ok(None);
    }
    let first = leading(text);
    let last = trailing(text).filter(|last| first.as_ref() != Some(last));
    let mut found = None;
    for comment in [first, last].into_iter().flatten() {
        let content = text.get(comment.start + 2..comment.end - 2).unwrap_or_default();
        let Some(pairs) = pairs(content) else {
            if names(content, key.as_bytes()) {
                return Err(MalformedCarrier::Encoding);
            }
            continue;
        };
        for pair in pairs.iter().filter(|pair| pair.key == key.as_bytes()) {
            let value = checked(&decode(pair.value)?)?.to_owned();
            if found.replace(value).is_some() {
                return Err(MalformedCarrier::Duplicate);
            }
        }
    }
    Ok(found)
}

/// Whether a comment's content has this key with `=` behind it.
fn names(content: &[u8], key: &[u8]) -> bool {
    memmem::find_iter(content, key).any(|at| {
        let (before, after) = content.split_at(at);
        let after = after.get(key.len()..).unwrap_or_default().trim_ascii_start();
        after.starts_with(b"=") && before.last().is_none_or(|byte| is_space(*byte) || *byte == b',')
    })
}

/// Whether `trefoil` with this continuation occurs, in any case, joined by an underscore or by what
/// is easily written in its place.
fn mentions(text: &[u8], continuation: &[u8]) -> bool {
    const PREFIX: &[u8] = b"trefoil";
    const JOINTS: [&[u8]; 4] = [b"_", b"-", b"%5f", b"%5F"];
    memchr2_iter(b't', b'T', text).any(|at| {
        let rest = text.get(at..).unwrap_or_default();
        let Some((name, rest)) = rest.split_at_checked(PREFIX.len()) else { return false };
        let joint = JOINTS.iter().find(|joint| rest.starts_with(joint)).map_or(0, |joint| joint.len());
        name.eq_ignore_ascii_case(PREFIX)
            && joint > 0
            && rest
                .get(joint..joint + continuation.len())
                .is_some_and(|after| after.eq_ignore_ascii_case(continuation))
    })
}

/// The comment with which the text begins, if it holds no other.
fn leading(text: &[u8]) -> Option<Range<usize>> {
    let start = text.iter().position(|&byte| !is_space(byte))?;
    let content = text.get(start..)?.strip_prefix(b"/*")?;
    let length = memmem::find(content, b"*/")?;
    memmem::find(content.get(..length)?, b"/*").is_none().then_some(start..start + length + 4)
}

/// The comment with which the text ends, if it holds no other.
fn trailing(text: &[u8]) -> Option<Range<usize>> {
    let last = text.iter().rposition(|&byte| !is_space(byte) && byte != b';')?;
    let before = text.get(..=last)?.strip_suffix(b"*/")?;
    let start = memmem::rfind(before, b"/*")?;
    memmem::find(before.get(start + 2..)?, b"*/").is_none().then_some(start..last + 1)
}

struct Pair<'a> {
    /// All bytes between the commas.
    whole: &'a [u8],
    key: &'a [u8],
    /// Between the quotes, still encoded.
    value: &'a [u8],
}

/// Splits `key='value',key='value'`; `None` if the content is anything else.
fn pairs(content: &[u8]) -> Option<Vec<Pair<'_>>> {
    let mut pairs = Vec::new();
    let mut rest = content;
    loop {
        let (key, tail) = rest.split_at_checked(rest.iter().position(|&byte| byte == b'=')?)?;
        let tail = tail.strip_prefix(b"='")?;
        let mut escaped = false;
        let length = tail.iter().position(|&byte| {
            let closes = byte == b'\'' && !escaped;
            escaped = byte == b'\\' && !escaped;
            closes
        })?;
        let (value, tail) = tail.split_at_checked(length)?;
        let tail = tail.strip_prefix(b"'")?;
        let after = tail.iter().position(|&byte| !is_space(byte)).unwrap_or(tail.len());
        let (_, tail) = tail.split_at_checked(after)?;
        let whole = rest.get(..rest.len() - tail.len())?;
        let key = key.trim_ascii();
        if key.is_empty() || key.iter().any(|&byte| is_space(byte) || matches!(byte, b',' | b'\'')) {
            return None;
        }
        pairs.push(Pair { whole, key, value });
        match tail.split_first() {
            None => return Some(pairs),
            Some((b',', next)) => rest = next,
            Some(_) => return None,
        }
    }
}

/// Moves a pair of ours into the carriers; false if it is somebody else's.
fn accept(pair: &Pair<'_>, seen: &mut [bool; 3], carriers: &mut Carriers) -> Result<bool, MalformedCarrier> {
    if !mentions(pair.key, b"") {
        return Ok(false);
    }
    let [user, envelope, app_share] = seen;
    let seen = match pair.key {
        b"trefoil_user" => user,
        b"trefoil_envelope" => envelope,
        b"trefoil_app_share" => app_share,
        _ => return Err(MalformedCarrier::UnknownKey),
    };
    if std::mem::replace(seen, true) {
        return Err(MalformedCarrier::Duplicate);
    }
    let value = decode(pair.value)?;
    let value = checked(&value)?;
    if value.is_empty() {
        return Ok(true);
    }
    match pair.key {
        b"trefoil_user" => carriers.user = Some(value.to_owned()),
        b"trefoil_envelope" => carriers.envelope = Some(value.to_owned()),
        _ => carriers.app_share = Some(Zeroizing::new(value.to_owned())),
    }
    Ok(true)
}

/// SQLCommenter's value encoding: percent-encoding, then `\` in front of `'`.
fn decode(value: &[u8]) -> Result<Zeroizing<Vec<u8>>, MalformedCarrier> {
    if value.len() > 3 * MAX_VALUE {
        return Err(MalformedCarrier::TooLong);
    }
    // Never grows, so no copy of a share is left behind unwiped.
    let mut out = Zeroizing::new(Vec::with_capacity(value.len()));
    let mut rest = value;
    while let Some((&byte, tail)) = rest.split_first() {
        let (byte, tail) = match (byte, tail) {
            (b'%', [high, low, tail @ ..]) => ((hex(*high)? << 4) | hex(*low)?, tail),
            (b'\\', [b'\'', tail @ ..]) => (b'\'', tail),
            (b'%' | b'\\', _) => return Err(MalformedCarrier::Encoding),
            (byte, tail) => (byte, tail),
        };
        out.push(byte);
        rest = tail;
    }
    Ok(out)
}

fn hex(digit: u8) -> Result<u8, MalformedCarrier> {
    match digit {
        b'0'..=b'9' => Ok(digit - b'0'),
        b'a'..=b'f' => Ok(digit - b'a' + 10),
        b'A'..=b'F' => Ok(digit - b'A' + 10),
        _ => Err(MalformedCarrier::Encoding),
    }
}

#[cfg(test)]
mod tests;
