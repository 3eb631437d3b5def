//! A decimal number as PostgreSQL computes with it: `numeric.c`'s `NumericVar`, and its wire form.

use crate::error::{ClientError, sqlstate};
use crate::policy::LogicalType;
use crate::value::refusal;

/// Decimal digits in one digit of base 10,000.
const GROUP: i32 = 4;
const BASE: i16 = 10_000;
/// What the stored form of PostgreSQL can express.
const MAX_SCALE: i32 = 0x3FFF;
const MAX_WEIGHT: i32 = 0x7FFF;
/// PostgreSQL's bound on exponents.
const EXPONENT_LIMIT: i32 = i32::MAX / 2;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sign {
    Positive,
    Negative,
    NotANumber,
    Infinity,
    MinusInfinity,
}

impl Sign {
    fn code(self) -> u16 {
        match self {
            Self::Positive => 0,
            Self::Negative => 0x4000,
            Self::NotANumber => 0xC000,
            Self::Infinity => 0xD000,
            Self::MinusInfinity => 0xF000,
        }
    }

    fn from_code(code: u16) -> Option<Self> {
        [Self::Positive, Self::Negative, Self::NotANumber, Self::Infinity, Self::MinusInfinity]
            .into_iter()
            .find(|sign| sign.code() == code)
    }
}

/// `digits[i]` counts 10,000 ^ (`weight` - i). There is no zero at either end, and no negative zero.
#[derive(Debug)]
pub(super) struct Number {
    sign: Sign,
    weight: i32,
    scale: i32,
    digits: Vec<i16>,
}

impl Number {
    fn special(sign: Sign) -> Self {
        Self { sign, weight: 0, scale: 0, digits: Vec::new() }
    }

    pub(super) fn is_finite(&self) -> bool {
        matches!(self.sign, Sign::Positive | Sign::Negative)
    }

    /// Digits after the point, as the value was written.
    pub(super) fn scale(&self) -> i32 {
        self.scale
    }

    /// Reads text without white space around it.
    pub(super) fn parse(logical: &LogicalType, text: &str) -> Result<Self, ClientError> {
        let syntax = || refusal::syntax(logical);
        let (sign, unsigned) = match text.as_bytes() {
            [b'-', rest @ ..] => (Sign::Negative, rest),
            [b'+', rest @ ..] => (Sign::Positive, rest),
            rest => (Sign::Positive, rest),
        };
        if text.eq_ignore_ascii_case("nan") {
            return Ok(Self::special(Sign::NotANumber));
        }
        if unsigned.eq_ignore_ascii_case(b"infinity") || unsigned.eq_ignore_ascii_case(b"inf") {
            let negative = sign == Sign::Negative;
            return Ok(Self::special(if negative { Sign::MinusInfinity } else { Sign::Infinity }));
        }
        let (whole, rest) = split_digits(unsigned);
        let (fraction, rest) = match rest {
            [b'.', rest @ ..] => split_digits(rest),
            rest => (&[][..], rest),
        };
        if whole.is_empty() && fraction.is_empty() {
            return Err(syntax());
        }
        let exponent = match rest {
            [] => 0,
            [b'e' | b'E', exponent @ ..] => parse_exponent(exponent).ok_or_else(syntax)?,
            _ => return Err(syntax()),
        };
        let size = |digits: &[u8]| i32::try_from(digits.len()).ok().filter(|n| *n < EXPONENT_LIMIT);
        let (Some(before), Some(after), true) =
            (size(whole), size(fraction), exponent.abs() < EXPONENT_LIMIT)
        else {
            return Err(overflow());
        };
        let mut number = Self { sign, weight: 0, scale: (after - exponent).max(0), digits: Vec::new() };
        number.group(whole.iter().chain(fraction), before + exponent);
        if number.weight > MAX_WEIGHT || number.scale > MAX_SCALE {
            return Err(overflow());
        }
        Ok(number)
    }

    /// Takes decimal digits, `point` of which stand before the point.
    fn group<'a>(&mut self, decimals: impl Iterator<Item = &'a u8>, point: i32) {
        let decimals = decimals.map(|byte| i16::from(byte - b'0'));
        // Weight of the first digit, which need not be at the start of its group.
        let first = (point - 1).div_euclid(GROUP);
        let mut position = (point - 1).rem_euclid(GROUP);
        self.weight = first;
        let mut digit = 0;
        for decimal in decimals {
            digit = digit * 10 + decimal;
            if position == 0 {
                self.digits.push(digit);
                digit = 0;
                position = GROUP;
            }
            position -= 1;
        }
        if position != GROUP - 1 {
            for _ in 0..=position {
                digit *= 10;
            }
            self.digits.push(digit);
        }
        self.strip();
    }

    /// Reads the binary form, as `numeric_recv` does.
    pub(super) fn receive(logical: &LogicalType, bytes: &[u8]) -> Result<Self, ClientError> {
        let view = View::of(bytes).ok_or_else(|| match bytes.len() {
            0..8 => refusal::truncated(),
            _ => refusal::malformed(logical),
        })?;
        let mut number = Self {
            sign: view.sign,
            weight: view.weight,
            scale: view.scale,
            digits: view.digits.iter().map(|digit| i16::from_be_bytes(*digit)).collect(),
        };
        if !number.is_finite() {
            return Ok(Self::special(number.sign));
        }
        // Digits past the display scale are cut off, not rounded.
        number.cut(number.scale, false);
        Ok(number)
    }

    /// Rounds to `scale` digits after the point, half away from zero.
    pub(super) fn round(&mut self, scale: i32) {
        if self.is_finite() {
            self.cut(scale, true);
        }
    }

    fn cut(&mut self, scale: i32, round: bool) {
        self.scale = scale;
        let kept = (self.weight + 1) * GROUP + scale;
        let Ok(whole_groups) = usize::try_from(kept.div_euclid(GROUP)) else {
            self.digits.clear();
            return self.strip();
        };
        let unit = match kept.rem_euclid(GROUP) {
            0 => BASE,
            1 => 1000,
            2 => 100,
            _ => 10,
        };
        if let Some(last) = self.digits.get_mut(whole_groups) {
            let dropped = *last % unit;
            *last -= dropped;
            if round && dropped >= unit / 2 {
                *last += unit;
            }
            self.digits.truncate(whole_groups + 1);
            self.carry();
        }
        self.strip();
    }

    fn carry(&mut self) {
        let mut carry = 0;
        for digit in self.digits.iter_mut().rev() {
            *digit += carry;
            carry = *digit / BASE;
            *digit %= BASE;
        }
        if carry > 0 {
            self.digits.insert(0, carry);
            self.weight += 1;
        }
    }

    /// Takes off zeros at both ends; zero has no digits, no weight and no sign.
    fn strip(&mut self) {
        let leading = self.digits.iter().take_while(|digit| **digit == 0).count();
        self.digits.drain(..leading);
        self.weight -= i32::try_from(leading).unwrap_or(i32::MAX);
        while self.digits.last() == Some(&0) {
            self.digits.pop();
        }
        if self.digits.is_empty() && self.is_finite() {
            self.weight = 0;
            self.sign = Sign::Positive;
        }
    }

    /// Whether a number rounded to `scale` keeps to `precision`. An infinity never does.
    pub(super) fn fits(&self, precision: u16, scale: u16) -> bool {
        let Some(first) = self.digits.first() else {
            return !matches!(self.sign, Sign::Infinity | Sign::MinusInfinity);
        };
        let in_first = match first {
            1000.. => 4,
            100.. => 3,
            10.. => 2,
            _ => 1,
        };
        self.weight.saturating_mul(GROUP).saturating_add(in_first) <= i32::from(precision) - i32::from(scale)
    }

    /// Digits after the point that are not trailing zeros.
    fn needed_scale(&self) -> i32 {
        let Some(mut last) = self.digits.last().copied() else { return 0 };
        let groups = i32::try_from(self.digits.len()).unwrap_or(i32::MAX);
        let mut scale = groups.saturating_sub(1).saturating_sub(self.weight).saturating_mul(GROUP);
        while last % 10 == 0 && last != 0 {
            last /= 10;
            scale -= 1;
        }
        scale.max(0)
    }

    /// Appends the wire form, with `scale` digits after the point or as many as the value needs.
    /// `None` if the form cannot express it.
    pub(super) fn write(&self, scale: i32, out: &mut Vec<u8>) -> Option<()> {
        let scale = match self.sign {
            Sign::Positive | Sign::Negative => scale.max(self.needed_scale()),
            Sign::NotANumber => 0,
            // The flag of PostgreSQL's own infinities.
            Sign::Infinity | Sign::MinusInfinity => 32,
        };
        out.extend_from_slice(&i16::try_from(self.digits.len()).ok()?.to_be_bytes());
        out.extend_from_slice(&i16::try_from(self.weight).ok()?.to_be_bytes());
        out.extend_from_slice(&self.sign.code().to_be_bytes());
        out.extend_from_slice(&u16::try_from(scale).ok()?.to_be_bytes());
        out.extend(self.digits.iter().flat_map(|digit| digit.to_be_bytes()));
        Some(())
    }

    /// The value if it is an integer of that range.
    pub(super) fn to_i64(&self) -> Option<i64> {
        if !self.is_finite() || self.needed_scale() > 0 || self.weight > 4 {
            return None;
        }
        let mut value = 0_i64;
        for i in 0..=self.weight {
            let digit = usize::try_from(i).ok().and_then(|i| self.digits.get(i)).copied().unwrap_or(0);
            let digit = i64::from(if self.sign == Sign::Negative { -digit } else { digit });
            value = value.checked_mul(i64::from(BASE))?.checked_add(digit)?;
        }
        Some(value)
    }
}

fn split_digits(text: &[u8]) -> (&[u8], &[u8]) {
    let end = text.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len());
    text.split_at(end)
}

/// Far outside the bound where it does not fit.
fn parse_exponent(text: &[u8]) -> Option<i32> {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let size = digits
        .iter()
        .fold(0_i32, |size, byte| size.saturating_mul(10).saturating_add(i32::from(byte - b'0')));
    Some(if negative { -size } else { size })
}

fn overflow() -> ClientError {
    ClientError::new(sqlstate::NUMERIC_VALUE_OUT_OF_RANGE, "value overflows numeric format", "")
}

/// The wire form, checked but not copied.
pub(super) struct View<'a> {
    pub(super) sign: Sign,
    pub(super) weight: i32,
    pub(super) scale: i32,
    digits: &'a [[u8; 2]],
}

impl<'a> View<'a> {
    /// `None` if it is malformed.
    pub(super) fn of(bytes: &'a [u8]) -> Option<Self> {
        let (header, rest) = bytes.split_first_chunk::<8>()?;
        let [c0, c1, w0, w1, s0, s1, d0, d1] = *header;
        let (digits, []) = rest.as_chunks::<2>() else { return None };
        let count = usize::from(u16::from_be_bytes([c0, c1]));
        let sign = Sign::from_code(u16::from_be_bytes([s0, s1]))?;
        let scale = i32::from(u16::from_be_bytes([d0, d1]));
        let valid = digits.len() == count
            && scale <= MAX_SCALE
            && digits.iter().all(|digit| (0..BASE).contains(&i16::from_be_bytes(*digit)));
        valid.then_some(Self { sign, weight: i32::from(i16::from_be_bytes([w0, w1])), scale, digits })
    }

    /// The digit that counts 10,000 ^ `weight`; 0 where none is kept.
    pub(super) fn digit(&self, weight: i32) -> i16 {
        usize::try_from(self.weight - weight)
            .ok()
            .and_then(|i| self.digits.get(i))
            .map_or(0, |digit| i16::from_be_bytes(*digit))
    }
}
