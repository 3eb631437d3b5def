//! `inet`, `cidr`, `macaddr`. An address is its family, the bits of its mask, whether it is a `cidr`,
//! its length, its bytes.

use super::{refusal, take};
use crate::error::ClientError;
use crate::policy::{LogicalType, Purpose};
use std::net::{Ipv4Addr, Ipv6Addr};

const V4: u8 = 2;
const V6: u8 = 3;
const MAC: LogicalType = LogicalType::Macaddr;

/// An address with or without `/bits`. Compared with a `cidr`, it is read as `inet`, for the operator
/// is that type's: with bits beyond the mask it equals none.
pub(super) fn from_text(
    logical: &LogicalType,
    text: &str,
    purpose: Purpose,
    out: &mut Vec<u8>,
) -> Result<(), ClientError> {
    let (address, mask) = match text.split_once('/') {
        Some((address, mask)) => (address, Some(mask)),
        None => (text, None),
    };
    let syntax = || refusal::syntax(logical);
    let (v4, v6);
    let (family, bytes, most): (u8, &[u8], u8) = if address.contains(':') {
        v6 = address.parse::<Ipv6Addr>().map_err(|_| syntax())?.octets();
        (V6, &v6, 128)
    } else {
        v4 = octets(logical, address)?;
        (V4, &v4, 32)
    };
    let bits = match mask {
        None => most,
        Some(mask) if !mask.is_empty() && mask.bytes().all(|byte| byte.is_ascii_digit()) => {
            if family == V6 && mask.len() > 1 && mask.starts_with('0') {
                return Err(syntax());
            }
            mask.parse().ok().filter(|bits| *bits <= most).ok_or_else(syntax)?
        }
        Some(_) => return Err(syntax()),
    };
    store(logical, family, bits, bytes, purpose, out).map_err(|_| syntax())
}

/// Four numbers. Fewer are an abbreviation, whose meaning differs between the two types.
fn octets(logical: &LogicalType, text: &str) -> Result<[u8; 4], ClientError> {
    let mut octets = Ipv4Addr::UNSPECIFIED.octets();
    let parts: Vec<&str> = text.split('.').collect();
    let number = |part: &str| {
        let digits = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        part.trim_start_matches('0')
            .parse::<u8>()
            .ok()
            .or((digits && part.bytes().all(|b| b == b'0')).then_some(0))
            .filter(|_| digits)
    };
    for part in &parts {
        number(part).ok_or_else(|| refusal::syntax(logical))?;
    }
    if parts.len() < octets.len() {
        return Err(refusal::unsupported(
            format!("an abbreviated address is not supported for type {logical}"),
            "Write all four numbers of the address, and the number of bits, such as 10.1.0.0/16.",
        ));
    }
    if parts.len() > octets.len() {
        return Err(refusal::syntax(logical));
    }
    for (octet, part) in octets.iter_mut().zip(parts) {
        *octet = number(part).unwrap_or(0);
    }
    Ok(octets)
}

pub(super) fn from_binary(
    logical: &LogicalType,
    bytes: &[u8],
    purpose: Purpose,
    out: &mut Vec<u8>,
) -> Result<(), ClientError> {
    let Some((&[family, bits, _, length], address)) = bytes.split_first_chunk() else {
        return Err(refusal::truncated());
    };
    let (most, wanted) = match family {
        V4 => (32, 4),
        V6 => (128, 16),
        _ => return Err(refusal::malformed(logical)),
    };
    if bits > most || length != wanted || address.len() != usize::from(wanted) {
        return Err(refusal::malformed(logical));
    }
    store(logical, family, bits, address, purpose, out)
}

fn store(
    logical: &LogicalType,
    family: u8,
    bits: u8,
    address: &[u8],
    purpose: Purpose,
    out: &mut Vec<u8>,
) -> Result<(), ClientError> {
    let cidr = *logical == LogicalType::Cidr;
    if cidr && purpose == Purpose::Assign && !is_network(bits, address) {
        return Err(refusal::malformed(logical));
    }
    let length = if family == V4 { 4 } else { 16 };
    out.extend_from_slice(&[family, bits, u8::from(cidr), length]);
    out.extend_from_slice(address);
    Ok(())
}

/// Whether all bits beyond the mask are zero.
fn is_network(bits: u8, address: &[u8]) -> bool {
    let (full, rest) = (usize::from(bits / 8), bits % 8);
    address.iter().enumerate().all(|(index, byte)| match index.cmp(&full) {
        std::cmp::Ordering::Less => true,
        std::cmp::Ordering::Equal => byte & (0xff >> rest) == 0,
        std::cmp::Ordering::Greater => *byte == 0,
    })
}

pub(super) fn to_text(logical: &LogicalType, canonical: &[u8], out: &mut Vec<u8>) -> Result<(), ClientError> {
    let corrupted = || refusal::corrupted(logical);
    let (&[family, bits, ..], address) = canonical.split_first_chunk::<4>().ok_or_else(corrupted)?;
    let most = match family {
        V4 => {
            let octets: [u8; 4] = take(logical, address).map_err(|_| corrupted())?;
            out.extend_from_slice(Ipv4Addr::from(octets).to_string().as_bytes());
            32
        }
        V6 => {
            let octets: [u8; 16] = take(logical, address).map_err(|_| corrupted())?;
            push_v6(Ipv6Addr::from(octets), out);
            128
        }
        _ => return Err(corrupted()),
    };
    if bits != most || *logical == LogicalType::Cidr {
        out.extend_from_slice(format!("/{bits}").as_bytes());
    }
    Ok(())
}

/// The longest run of zeros, the first of equal ones, becomes `::`; an IPv4 address in it is shown as
/// one where PostgreSQL does.
fn push_v6(address: Ipv6Addr, out: &mut Vec<u8>) {
    let words = address.segments();
    let (mut start, mut length) = (0, 0);
    for from in 0..words.len() {
        let run = words.iter().skip(from).take_while(|word| **word == 0).count();
        if run > length {
            (start, length) = (from, run);
        }
    }
    let [.., a, b, c, d] = address.octets();
    let v4 = start == 0
        && match length {
            6 => true,
            7 => words.last() != Some(&1),
            5 => words.get(5) == Some(&0xffff),
            _ => false,
        };
    if length < 2 {
        length = 0;
    }
    let mut text = String::new();
    for (index, word) in words.iter().enumerate() {
        if length > 0 && (start..start + length).contains(&index) {
            if index == start {
                text.push(':');
            }
            continue;
        }
        if index > 0 {
            text.push(':');
        }
        if v4 && index == 6 {
            text.push_str(&Ipv4Addr::new(a, b, c, d).to_string());
            break;
        }
        text.push_str(&format!("{word:x}"));
    }
    if length > 0 && start + length == words.len() {
        text.push(':');
    }
    out.extend_from_slice(text.as_bytes());
}

/// Six bytes in hexadecimal, with one of PostgreSQL's separators.
pub(super) fn mac_from_text(text: &str, out: &mut Vec<u8>) -> Result<(), ClientError> {
    let bytes = mac(super::trim(text)).ok_or_else(|| refusal::syntax(&MAC))?;
    out.extend_from_slice(&bytes);
    Ok(())
}

fn mac(text: &str) -> Option<[u8; 6]> {
    let separator = text.chars().find(|c| matches!(c, ':' | '-' | '.'));
    let groups: Vec<&str> = match separator {
        Some(separator) => text.split(separator).collect(),
        None => vec![text],
    };
    let digits = match (groups.len(), separator) {
        (6, Some(':' | '-')) => groups.iter().map(|group| format!("{group:0>2}")).collect::<String>(),
        (2, Some(':' | '-')) | (3, Some('.' | '-')) | (1, None) => {
            let length = 12 / groups.len();
            groups.iter().all(|group| group.len() == length).then(|| groups.concat())?
        }
        _ => return None,
    };
    if digits.len() != 12 || groups.iter().any(|group| group.is_empty()) {
        return None;
    }
    let mut bytes = [0; 6];
    for (byte, pair) in bytes.iter_mut().zip(digits.as_bytes().chunks_exact(2)) {
        let &[high, low] = pair else { return None };
        *byte = (super::hex_digit(high)? << 4) | super::hex_digit(low)?;
    }
    Some(bytes)
}

pub(super) fn mac_from_binary(bytes: &[u8], out: &mut Vec<u8>) -> Result<(), ClientError> {
    out.extend_from_slice(&take::<6>(&MAC, bytes)?);
    Ok(())
}

pub(super) fn mac_to_text(canonical: &[u8], out: &mut Vec<u8>) -> Result<(), ClientError> {
    let bytes: [u8; 6] = take(&MAC, canonical).map_err(|_| refusal::corrupted(&MAC))?;
    for (index, byte) in bytes.into_iter().enumerate() {
        if index > 0 {
            out.push(b':');
        }
        super::push_hex(byte, out);
    }
    Ok(())
}
