//! Escrow: what a new vault needs, on sheets of paper of which any `threshold` are enough.
//!
//! `sealed = AES-256-SIV(HKDF(K), terms, tenant; payload)` with a fresh K of 32 bytes, which Shamir's
//! scheme shares among the sheets; each holds its share and the whole sealed text. So nothing but paper is
//! needed, and whatever is combined wrongly fails authentication: there is never a wrong key.

mod line;
mod payload;
mod shamir;
mod sheet;
#[cfg(test)]
mod tests;

pub use line::Problem;
pub use payload::{Endpoint, Payload};
pub use sheet::{Date, SetId, Sheet, SheetError, Terms};

use crate::kdf::{self, Purpose};
use crate::sealing;
use crate::secret::{Share, wipe_stack};
use aes_siv::siv::Aes256Siv;
use sheet::Common;
use zeroize::Zeroizing;

/// Why there are no sheets, or why sheets give nothing back.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum EscrowError {
    /// One sheet alone would be the keys, or all together would not be enough.
    #[error("{threshold} of {sheets} sheets is no possible threshold: at least 2 and at most all of them")]
    Terms {
        /// As asked for.
        threshold: u8,
        /// As asked for.
        sheets: u8,
    },
    /// More than fits on paper.
    #[error("names, URL or keyspaces are too long for a sheet of paper: at most 255 bytes each")]
    TooLong,
    /// Nothing was given.
    #[error("no sheets were given")]
    NoSheets,
    /// Sheets of two sets.
    #[error(
        "sheet {number} is of set {set}, made on {date}, and sheet {first} of set {first_set}; take sheets of one set"
    )]
    OtherSet {
        /// The sheet that differs from the first.
        number: u8,
        /// Its set.
        set: SetId,
        /// When that was made.
        date: Date,
        /// Number of the first sheet.
        first: u8,
        /// Its set.
        first_set: SetId,
    },
    /// They say that they are of one set but differ in what all sheets of a set have.
    #[error("sheets {first} and {number} say different things about set {set}: one of them was altered")]
    Contradiction {
        /// The sheet that differs from the first.
        number: u8,
        /// Number of the first sheet.
        first: u8,
        /// Their set.
        set: SetId,
    },
    /// One sheet counts once.
    #[error("sheet {0} was given twice; give different sheets")]
    Duplicate(u8),
    /// Not enough sheets.
    #[error("{given} of the {needed} sheets that are needed were given; {} missing", missing(*.given, *.needed))]
    TooFew {
        /// How many.
        given: usize,
        /// The threshold.
        needed: u8,
    },
    /// No sheet has the sealed payload.
    #[error(
        "all files have lines 1 and 2 alone; one of them needs the sheet's other lines too, up to line {0}"
    )]
    NoPayload(u8),
    /// Authentication failed.
    #[error(
        "the sheets do not fit together: at least one was altered after it was made; use other sheets of the set"
    )]
    Altered,
    /// Authentic, but nothing that this program wrote.
    #[error(
        "the sheets fit together, but what they hold is of another format; use the release that wrote them"
    )]
    Format,
}

fn missing(given: usize, needed: u8) -> String {
    match usize::from(needed).saturating_sub(given) {
        1 => "1 is".to_owned(),
        n => format!("{n} are"),
    }
}

/// The sheets 1 to `terms.sheets` of a new set. No two sets have anything in common.
///
/// # Errors
/// [`EscrowError::Terms`], [`EscrowError::TooLong`].
pub fn split(payload: &Payload, terms: Terms) -> Result<Vec<Sheet>, EscrowError> {
    let Terms { threshold, sheets, .. } = terms;
    let impossible = || EscrowError::Terms { threshold, sheets };
    if !terms.are_possible() {
        return Err(impossible());
    }
    let key = Share::random();
    let plaintext = payload.to_bytes().map_err(|_| EscrowError::TooLong)?;
    let mut sealed = Vec::new();
    let bound: [&[u8]; 2] = [&terms.to_bytes(), payload.tenant.as_bytes()];
    sealing::seal(&mut siv(&key), &bound, &plaintext, &mut sealed).map_err(|_| EscrowError::TooLong)?;
    let shares = shamir::split(&key, threshold, sheets).map_err(|_| impossible())?;
    wipe_stack();
    let common = Common { tenant: payload.tenant.clone(), sealed };
    sheet::make_set(terms, &common, shares).map_err(|_| EscrowError::TooLong)
}

/// What was put in escrow, from at least `threshold` different sheets of one set in any order.
///
/// # Errors
/// Everything else, and never a wrong payload.
pub fn recover(sheets: &[Sheet]) -> Result<Payload, EscrowError> {
    let first = sheets.first().ok_or(EscrowError::NoSheets)?;
    let Terms { threshold, .. } = first.terms;
    for (place, sheet) in sheets.iter().enumerate() {
        let number = sheet.number;
        if sheet.set != first.set {
            let (set, date) = (sheet.set, sheet.terms.date);
            return Err(EscrowError::OtherSet {
                number,
                set,
                date,
                first: first.number,
                first_set: first.set,
            });
        }
        if sheet.terms != first.terms {
            return Err(EscrowError::Contradiction { number, first: first.number, set: first.set });
        }
        if sheets.iter().take(place).any(|earlier| earlier.number == number) {
            return Err(EscrowError::Duplicate(number));
        }
    }
    if sheets.len() < usize::from(threshold) {
        return Err(EscrowError::TooFew { given: sheets.len(), needed: threshold });
    }
    let mut with_payload = sheets.iter().filter_map(|sheet| Some((sheet.number, sheet.common.as_ref()?)));
    let (holder, common) = with_payload.next().ok_or(EscrowError::NoPayload(first.last_line()))?;
    if let Some((number, _)) = with_payload.find(|(_, other)| *other != common) {
        return Err(EscrowError::Contradiction { number, first: holder, set: first.set });
    }

    let shares = sheets.iter().map(|sheet| (sheet.number, &sheet.share));
    let key = shamir::combine(shares).map_err(|_| EscrowError::Altered)?;
    let mut plaintext = Zeroizing::new(Vec::with_capacity(common.sealed.len()));
    let bound: [&[u8]; 2] = [&first.terms.to_bytes(), common.tenant.as_bytes()];
    sealing::open(&mut siv(&key), &bound, &common.sealed, &mut plaintext)
        .map_err(|_| EscrowError::Altered)?;
    wipe_stack();
    Payload::from_bytes(&common.tenant, &plaintext).map_err(|_| EscrowError::Format)
}

fn siv(key: &Share) -> Box<Aes256Siv> {
    let mut derived = Zeroizing::new([0; 64]);
    kdf::derive(key.as_bytes(), "", &[], Purpose::Escrow, derived.as_mut_slice());
    sealing::siv(&derived)
}
