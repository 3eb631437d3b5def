//! Arrays as PostgreSQL reads and writes them (`array_in`, `array_recv`, `array_send`), whatever their
//! elements: dimensions, and the elements in storage order. Nothing is allocated by an unchecked length.

use crate::error::{ClientError, sqlstate};
pub use crate::policy::oid::{array_of, element_of};
use std::ops::Range;
use zeroize::Zeroizing;

/// PostgreSQL's `MAXDIM`.
const MAX_DIMENSIONS: usize = 6;

const PROGRAM_LIMIT_EXCEEDED: &str = "54000";

/// One dimension of an array.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dimension {
    /// How many elements, never negative.
    pub length: i32,
    /// The index of the first one.
    pub lower: i32,
}

/// An array. One without elements has no dimensions either.
#[derive(Default)]
pub struct Array {
    dimensions: Vec<Dimension>,
    bytes: Zeroizing<Vec<u8>>,
    elements: Vec<Option<Range<usize>>>,
}

impl Array {
    /// Reads the text form. The elements are their texts, quotes and backslashes taken off.
    pub fn from_text(text: &str) -> Result<Self, ClientError> {
        let mut reader = Reader { text: text.as_bytes(), at: 0 };
        let bounds = reader.bounds()?;
        let mut array = Self { bytes: Zeroizing::new(Vec::with_capacity(text.len())), ..Self::default() };
        let lengths = reader.elements(&mut array)?;
        reader.skip_space();
        if reader.at < reader.text.len() || (bounds.len() != lengths.len() && !bounds.is_empty()) {
            return Err(malformed());
        }
        for (index, length) in lengths.into_iter().enumerate() {
            let length = i32::try_from(length).map_err(|_| too_large())?;
            let dimension = bounds.get(index).copied().unwrap_or(Dimension { length, lower: 1 });
            if dimension.length != length {
                return Err(malformed());
            }
            array.dimensions.push(dimension);
        }
        if array.elements.is_empty() {
            array.dimensions.clear();
        }
        Ok(array)
    }

    /// Reads the binary form. Returns the OID of the elements' type, too.
    pub fn from_binary(bytes: &[u8]) -> Result<(Self, u32), ClientError> {
        let mut rest = bytes;
        let count = usize::try_from(i32::from_be_bytes(take(&mut rest)?)).map_err(|_| not_binary())?;
        let flags = i32::from_be_bytes(take(&mut rest)?);
        let element = u32::from_be_bytes(take(&mut rest)?);
        if count > MAX_DIMENSIONS || !matches!(flags, 0 | 1) {
            return Err(not_binary());
        }
        let mut array = Self { bytes: Zeroizing::new(Vec::with_capacity(rest.len())), ..Self::default() };
        let mut number = usize::from(count > 0);
        for _ in 0..count {
            let length = i32::from_be_bytes(take(&mut rest)?);
            let lower = i32::from_be_bytes(take(&mut rest)?);
            let checked = usize::try_from(length).ok().filter(|_| lower.checked_add(length).is_some());
            number = checked.and_then(|length| number.checked_mul(length)).ok_or_else(not_binary)?;
            array.dimensions.push(Dimension { length, lower });
        }
        if number > rest.len() / 4 {
            return Err(not_binary());
        }
        for _ in 0..number {
            let length = i32::from_be_bytes(take(&mut rest)?);
            if length == -1 {
                array.elements.push(None);
                continue;
            }
            let (value, after) = usize::try_from(length)
                .ok()
                .and_then(|length| rest.split_at_checked(length))
                .ok_or_else(not_binary)?;
            array.push(value);
            rest = after;
        }
        if !rest.is_empty() {
            return Err(not_binary());
        }
        if number == 0 {
            array.dimensions.clear();
        }
        Ok((array, element))
    }

    /// An array of one dimension; empty if there are no elements.
    pub fn of<'e>(elements: impl IntoIterator<Item = Option<&'e [u8]>>) -> Result<Self, ClientError> {
        let mut array = Self::default();
        for element in elements {
            match element {
                Some(value) => array.push(value),
                None => array.elements.push(None),
            }
        }
        let length = i32::try_from(array.elements.len()).map_err(|_| too_large())?;
        if length > 0 {
            array.dimensions.push(Dimension { length, lower: 1 });
        }
        Ok(array)
    }

    /// The dimensions, outermost first.
    pub fn dimensions(&self) -> &[Dimension] {
        &self.dimensions
    }

    /// The elements in storage order; `None` for NULL.
    pub fn elements(&self) -> impl ExactSizeIterator<Item = Option<&[u8]>> {
        self.elements.iter().map(|range| range.clone().map(|range| self.bytes.get(range).unwrap_or_default()))
    }

    /// The same array of other elements: `convert` appends what each becomes, NULL stays NULL.
    pub fn map<E>(&self, mut convert: impl FnMut(&[u8], &mut Vec<u8>) -> Result<(), E>) -> Result<Self, E> {
        let mut array = Self { dimensions: self.dimensions.clone(), ..Self::default() };
        array.elements.reserve(self.elements.len());
        for element in self.elements() {
            let Some(element) = element else {
                array.elements.push(None);
                continue;
            };
            let start = array.bytes.len();
            convert(element, &mut array.bytes)?;
            array.elements.push(Some(start..array.bytes.len()));
        }
        Ok(array)
    }

    /// Appends the text form (`array_out`), each element as `show` writes it.
    pub fn to_text<E>(
        &self,
        out: &mut Vec<u8>,
        mut show: impl FnMut(&[u8], &mut Vec<u8>) -> Result<(), E>,
    ) -> Result<(), E> {
        if self.dimensions.is_empty() {
            out.extend_from_slice(b"{}");
            return Ok(());
        }
        if self.dimensions.iter().any(|dimension| dimension.lower != 1) {
            for Dimension { length, lower } in &self.dimensions {
                let upper = i64::from(*lower) + i64::from(*length) - 1;
                out.extend_from_slice(format!("[{lower}:{upper}]").as_bytes());
            }
            out.push(b'=');
        }
        // How many elements each level of braces holds, the outermost first.
        let mut spans = Vec::new();
        let mut span = 1;
        for dimension in self.dimensions.iter().rev() {
            span *= usize::try_from(dimension.length).unwrap_or(0).max(1);
            spans.push(span);
        }
        let mut shown = Zeroizing::new(Vec::new());
        for (index, element) in self.elements().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            out.extend(spans.iter().filter(|span| index % **span == 0).map(|_| b'{'));
            match element {
                None => out.extend_from_slice(b"NULL"),
                Some(element) => {
                    shown.clear();
                    show(element, &mut shown)?;
                    push_element(&shown, out);
                }
            }
            out.extend(spans.iter().filter(|span| (index + 1) % **span == 0).map(|_| b'}'));
        }
        Ok(())
    }

    /// Appends the binary form, as an array of this type's values.
    pub fn to_binary(&self, element: u32, out: &mut Vec<u8>) -> Result<(), ClientError> {
        let count = i32::try_from(self.dimensions.len()).map_err(|_| too_large())?;
        let nulls = i32::from(self.elements.iter().any(Option::is_none));
        for head in [count, nulls] {
            out.extend_from_slice(&head.to_be_bytes());
        }
        out.extend_from_slice(&element.to_be_bytes());
        for dimension in &self.dimensions {
            out.extend_from_slice(&dimension.length.to_be_bytes());
            out.extend_from_slice(&dimension.lower.to_be_bytes());
        }
        for element in self.elements() {
            let length = match element {
                None => -1,
                Some(value) => i32::try_from(value.len()).map_err(|_| too_large())?,
            };
            out.extend_from_slice(&length.to_be_bytes());
            out.extend_from_slice(element.unwrap_or_default());
        }
        Ok(())
    }

    fn push(&mut self, value: &[u8]) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(value);
        self.elements.push(Some(start..self.bytes.len()));
    }
}

/// Quotes an element that could be read as something else.
fn push_element(text: &[u8], out: &mut Vec<u8>) {
    let special = |byte: &u8| matches!(byte, b'"' | b'\\' | b'{' | b'}' | b',') || is_space(*byte);
    if !text.is_empty() && !text.eq_ignore_ascii_case(b"null") && !text.iter().any(special) {
        out.extend_from_slice(text);
        return;
    }
    out.push(b'"');
    for &byte in text {
        if matches!(byte, b'"' | b'\\') {
            out.push(b'\\');
        }
        out.push(byte);
    }
    out.push(b'"');
}

fn malformed() -> ClientError {
    ClientError::new(sqlstate::INVALID_TEXT_REPRESENTATION, "malformed array literal", "")
}

fn too_far() -> ClientError {
    ClientError::new("54000", "array lower bound is too large", "")
}

fn not_binary() -> ClientError {
    ClientError::new(sqlstate::INVALID_BINARY_REPRESENTATION, "incorrect binary data format for an array", "")
}

fn too_large() -> ClientError {
    ClientError::new(PROGRAM_LIMIT_EXCEEDED, "array size exceeds the maximum allowed", "")
}

fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], ClientError> {
    let (bytes, after) = rest.split_first_chunk::<N>().ok_or_else(not_binary)?;
    *rest = after;
    Ok(*bytes)
}

struct Reader<'a> {
    text: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn skip_space(&mut self) {
        while self.peek().is_some_and(is_space) {
            self.at += 1;
        }
    }

    fn expect(&mut self, byte: u8) -> Result<(), ClientError> {
        if self.peek() != Some(byte) {
            return Err(malformed());
        }
        self.at += 1;
        Ok(())
    }

    /// `[2:3][0:1]=`, if it is there.
    fn bounds(&mut self) -> Result<Vec<Dimension>, ClientError> {
        let mut bounds = Vec::new();
        self.skip_space();
        while self.peek() == Some(b'[') {
            self.at += 1;
            let first = self.bound()?;
            let (lower, upper) = match self.peek() {
                Some(b':') => {
                    self.at += 1;
                    (first, self.bound()?)
                }
                _ => (1, first),
            };
            self.expect(b']')?;
            self.skip_space();
            let length = upper.checked_sub(lower).and_then(|length| length.checked_add(1));
            let length = length.filter(|length| *length > 0).ok_or_else(malformed)?;
            if lower.checked_add(length).is_none() {
                return Err(too_far());
            }
            bounds.push(Dimension { length, lower });
        }
        if !bounds.is_empty() {
            self.expect(b'=')?;
            self.skip_space();
        }
        Ok(bounds)
    }

    fn bound(&mut self) -> Result<i32, ClientError> {
        let start = self.at;
        while self.peek().is_some_and(|b| b.is_ascii_digit() || matches!(b, b'-' | b'+')) {
            self.at += 1;
        }
        let digits = self.text.get(start..self.at).and_then(|digits| str::from_utf8(digits).ok());
        digits.and_then(|digits| digits.parse().ok()).ok_or_else(malformed)
    }

    /// `{…}` with all in it. Returns the length of each dimension.
    fn elements(&mut self, array: &mut Array) -> Result<Vec<usize>, ClientError> {
        // What each level has, what each must have, and whether the depth is settled.
        let (mut counts, mut lengths) = (Vec::new(), Vec::<Option<usize>>::new());
        let (mut settled, mut after_element) = (false, false);
        loop {
            self.skip_space();
            match self.peek().ok_or_else(malformed)? {
                b'{' => {
                    if after_element || (settled && counts.len() == lengths.len()) {
                        return Err(malformed());
                    }
                    if counts.len() == MAX_DIMENSIONS {
                        return Err(too_large());
                    }
                    counts.push(0_usize);
                    if lengths.len() < counts.len() {
                        lengths.push(None);
                    }
                    self.at += 1;
                }
                b'}' => {
                    let count = counts.pop().ok_or_else(malformed)?;
                    let length = lengths.get_mut(counts.len()).ok_or_else(malformed)?;
                    if (count > 0 && !after_element) || *length.get_or_insert(count) != count {
                        return Err(malformed());
                    }
                    (settled, after_element) = (true, true);
                    self.at += 1;
                    match counts.last_mut() {
                        Some(outer) => *outer += 1,
                        None => return Ok(lengths.into_iter().map(Option::unwrap_or_default).collect()),
                    }
                }
                b',' => {
                    if !after_element {
                        return Err(malformed());
                    }
                    after_element = false;
                    self.at += 1;
                }
                _ => {
                    settled = true;
                    let depth = counts.len();
                    let count = counts.last_mut().filter(|_| !after_element && depth == lengths.len());
                    *count.ok_or_else(malformed)? += 1;
                    after_element = true;
                    self.element(array)?;
                }
            }
        }
    }

    fn element(&mut self, array: &mut Array) -> Result<(), ClientError> {
        let start = array.bytes.len();
        if self.peek() == Some(b'"') {
            self.at += 1;
            loop {
                match self.escaped()? {
                    (b'"', false) => break,
                    (byte, _) => array.bytes.push(byte),
                }
            }
            array.elements.push(Some(start..array.bytes.len()));
            return Ok(());
        }
        // White space at the end does not count, unless it is escaped.
        let (mut end, mut plain) = (start, true);
        loop {
            match self.peek().ok_or_else(malformed)? {
                b',' | b'}' => break,
                b'{' | b'"' => return Err(malformed()),
                _ => {}
            }
            let (byte, escaped) = self.escaped()?;
            plain &= !escaped;
            array.bytes.push(byte);
            if escaped || !is_space(byte) {
                end = array.bytes.len();
            }
        }
        array.bytes.truncate(end);
        let null = plain && array.bytes.get(start..).is_some_and(|text| text.eq_ignore_ascii_case(b"null"));
        array.elements.push((!null).then_some(start..end));
        Ok(())
    }

    /// The next byte, and whether a backslash stood before it.
    fn escaped(&mut self) -> Result<(u8, bool), ClientError> {
        let escaped = self.peek() == Some(b'\\');
        self.at += usize::from(escaped);
        let byte = self.peek().ok_or_else(malformed)?;
        self.at += 1;
        Ok((byte, escaped))
    }
}

/// PostgreSQL's `array_isspace`.
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{any, proptest};

    type Read = (Vec<(i32, i32)>, Vec<Option<String>>);

    fn read(text: &str) -> Option<Read> {
        let array = Array::from_text(text).ok()?;
        let dimensions = array.dimensions().iter().map(|d| (d.length, d.lower)).collect();
        let text = |value: &[u8]| String::from_utf8(value.to_vec()).unwrap();
        Some((dimensions, array.elements().map(|element| element.map(text)).collect()))
    }

    #[test]
    fn reads_text_as_postgresql_does() {
        for (text, dimensions, elements) in [
            ("{}", vec![], vec![]),
            (" { } ", vec![], vec![]),
            ("{a,b}", vec![(2, 1)], vec![Some("a"), Some("b")]),
            ("{ a b , NULL,null }", vec![(3, 1)], vec![Some("a b"), None, None]),
            (r#"{"NULL","a,\"}\\", "" }"#, vec![(3, 1)], vec![Some("NULL"), Some("a,\"}\\"), Some("")]),
            (r"{N\ULL, a\ \ }", vec![(2, 1)], vec![Some("NULL"), Some("a  ")]),
            ("{{1,2},{3,4}}", vec![(2, 1), (2, 1)], vec![Some("1"), Some("2"), Some("3"), Some("4")]),
            ("[0:1]={a,b}", vec![(2, 0)], vec![Some("a"), Some("b")]),
            ("[2]={a,b}", vec![(2, 1)], vec![Some("a"), Some("b")]),
            ("{é}", vec![(1, 1)], vec![Some("é")]),
        ] {
            let elements = elements.into_iter().map(|e| e.map(str::to_owned)).collect();
            assert_eq!(read(text), Some((dimensions, elements)), "{text}");
        }
        for text in [
            "",
            "a",
            "{",
            "}",
            "{a",
            "{a,}",
            "{,a}",
            "{a,,b}",
            "{a}b",
            "{a}{b}",
            "{{a},b}",
            "{a,{b}}",
            "{{a},{b,c}}",
            "{a{b}}",
            "{\"a\"b}",
            "{a\"b\"}",
            "{\"a}",
            "{a\\",
            "[0:2]={a,b}",
            "[1:0]={}",
            "[1:2]{a,b}",
            "[1:2={a,b}",
            "{{{{{{{a}}}}}}}",
            "{{},a}",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn binary_is_read_and_written() {
        let array = Array::from_text("[3:4]={ab,NULL}").unwrap();
        let mut binary = Vec::new();
        array.to_binary(25, &mut binary).unwrap();
        assert_eq!(binary, b"\0\0\0\x01\0\0\0\x01\0\0\0\x19\0\0\0\x02\0\0\0\x03\0\0\0\x02ab\xff\xff\xff\xff");
        let (again, element) = Array::from_binary(&binary).unwrap();
        assert_eq!((element, again.elements().collect::<Vec<_>>()), (25, vec![Some(&b"ab"[..]), None]));
        for end in 0..binary.len() {
            assert!(Array::from_binary(&binary[..end]).is_err());
        }
        assert!(Array::from_binary(&[binary, vec![0]].concat()).is_err());
        assert!(Array::from_binary(b"\0\0\0\x01\0\0\0\0\0\0\0\x19\x7f\xff\xff\xff\0\0\0\x01").is_err());
    }

    #[test]
    fn array_types_have_their_elements() {
        assert_eq!((array_of(25), element_of(1007), element_of(25)), (Some(1009), Some(23), None));
    }

    proptest! {
        #[test]
        fn any_input_never_panics(text: String, bytes: Vec<u8>) {
            let _ = Array::from_text(&text);
            let _ = Array::from_binary(&bytes);
        }

        #[test]
        fn what_is_written_is_read(elements in proptest::collection::vec(any::<Option<Vec<u8>>>(), 0..9)) {
            let array = Array::of(elements.iter().map(Option::as_deref)).unwrap();
            let mut binary = Vec::new();
            array.to_binary(17, &mut binary).unwrap();
            let (again, _) = Array::from_binary(&binary).unwrap();
            let read: Vec<_> = again.elements().map(|e| e.map(<[u8]>::to_vec)).collect();
            assert_eq!(read, elements);
        }
    }
}
