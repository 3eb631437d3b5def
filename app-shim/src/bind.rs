//! Bind, and what of Parse it depends on: PostgreSQL's protocol 3, "Message Formats".

use crate::statement::Argument;

/// Object ids of types whose values are a text in both forms: none declared (where the place asks for a
/// text), text, unknown, varchar, name.
const TEXTS: [u32; 5] = [0, 25, 705, 1043, 19];
const BOOL: u32 = 16;

/// The names of portal and statement, and what follows them; `None` before they have arrived.
pub(crate) fn names(body: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let (portal, rest) = c_string(body)?;
    let (statement, rest) = c_string(rest)?;
    Some((portal, statement, rest))
}

fn c_string(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.iter().position(|byte| *byte == 0)?;
    Some((bytes.get(..end)?, bytes.get(end + 1..)?))
}

/// The types that a Parse declares, from behind its text's NUL.
pub(crate) fn declared(mut rest: &[u8]) -> Vec<u32> {
    let count = integer16(&mut rest).unwrap_or(0);
    (0..count).map_while(|_| take(&mut rest).map(u32::from_be_bytes)).collect()
}

/// The values of a Bind's parameters, from behind its names.
pub(crate) struct Parameters<'a> {
    binary: Vec<bool>,
    values: Vec<Option<&'a [u8]>>,
}

impl<'a> Parameters<'a> {
    /// `None` if the message is malformed.
    pub(crate) fn read(mut rest: &'a [u8]) -> Option<Self> {
        let formats = integer16(&mut rest)?;
        let binary = (0..formats).map(|_| Some(integer16(&mut rest)? == 1)).collect::<Option<_>>()?;
        let count = integer16(&mut rest)?;
        let values = (0..count).map(|_| {
            let length = i32::from_be_bytes(take(&mut rest)?);
            let Ok(length) = usize::try_from(length) else { return Some(None) };
            let (value, after) = rest.split_at_checked(length)?;
            rest = after;
            Some(Some(value))
        });
        let values = values.collect::<Option<_>>()?;
        Some(Self { binary, values })
    }

    /// Parameter `number`, from 1, if its value can be read.
    pub(crate) fn argument(&self, number: usize, declared: &[u32]) -> Option<Argument> {
        let index = number.checked_sub(1)?;
        let Some(value) = self.values.get(index)? else { return Some(Argument::Null) };
        let binary = match self.binary.as_slice() {
            [] => false,
            [all] => *all,
            each => *each.get(index)?,
        };
        let declared = declared.get(index).copied().unwrap_or(0);
        let readable = TEXTS.contains(&declared) || (declared == BOOL && (!binary || value.len() == 1));
        let text = str::from_utf8(value).ok().filter(|_| readable)?;
        Some(Argument::Text(text.to_owned()))
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, after) = rest.split_first_chunk()?;
    *rest = after;
    Some(*taken)
}

fn integer16(rest: &mut &[u8]) -> Option<u16> {
    take(rest).map(u16::from_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_in_both_forms() {
        let body = b"p\0s\0\0\x02\0\0\0\x01\0\x02\0\0\0\x05alice\xff\xff\xff\xff\0\0";
        let (portal, statement, rest) = names(body).unwrap();
        assert_eq!((portal, statement), (&b"p"[..], &b"s"[..]));
        let parameters = Parameters::read(rest).unwrap();
        assert_eq!(parameters.argument(1, &[25]), Some(Argument::Text("alice".to_owned())));
        assert_eq!(parameters.argument(1, &[]), Some(Argument::Text("alice".to_owned())));
        assert_eq!(parameters.argument(1, &[23]), None);
        assert_eq!(parameters.argument(2, &[]), Some(Argument::Null));
        assert_eq!(parameters.argument(3, &[]), None);
        assert_eq!(parameters.argument(0, &[]), None);
        assert!(Parameters::read(b"\0\0\0\x01\0\0\0\x05ali").is_none());
        assert!(names(b"p\0s").is_none());
        assert_eq!(declared(b"\0\x02\0\0\0\x19\0\0\0\x17"), [25, 23]);
        assert_eq!(declared(b"\0\x02\0\0"), [0; 0]);
    }
}
