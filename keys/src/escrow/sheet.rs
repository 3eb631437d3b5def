//! One sheet of paper: prose for people, then numbered lines.
//!
//! Lines 1 and 2 are the sheet's own: `version ‖ set id ‖ number ‖ threshold ‖ sheets ‖ year ‖ month ‖
//! day ‖ lines ‖ share ‖ 0`. The lines after them are the same on all sheets of a set: `tenant ‖ length ‖
//! sealed payload ‖ 0`. The set id is the beginning of the SHA-256 of all that is common, so that lines
//! of different sets do not pass for one.

use super::line::{self, BYTES, Lines, Problem};
use super::payload::{Malformed, Reader, TooLong, put_text};
use crate::secret::Share;
use sha2::{Digest, Sha256};
use std::fmt::{self, Write};
use zeroize::Zeroizing;

const VERSION: u8 = 1;
/// Lines of the sheet's own.
const OWN: u8 = 2;
const SET_ID: usize = 5;

/// Why a text is not a sheet, or not a whole one.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum SheetError {
    /// Nothing that looks like a sheet.
    #[error(
        "there is no line 1 of an escrow sheet: each line of the sheet begins with its number and a space"
    )]
    NotASheet,
    /// Lines that cannot be right.
    #[error("{}; compare them with the paper", list(.0))]
    Lines(Vec<(u8, Problem)>),
    /// Of a later version of the format.
    #[error("the sheet has format version {0}, this program reads version 1; use the release that wrote it")]
    Version(u8),
    /// The checksums fit, and yet it cannot be.
    #[error("the lines fit their checksums but were not written by this program")]
    Malformed,
}

fn list(problems: &[(u8, Problem)]) -> String {
    let texts: Vec<String> =
        problems.iter().map(|(number, problem)| format!("line {number} {problem}")).collect();
    texts.join("; ")
}

impl From<Malformed> for SheetError {
    fn from(Malformed: Malformed) -> Self {
        Self::Malformed
    }
}

/// The day on which a set was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Date {
    /// Of the common era.
    pub year: u16,
    /// From 1.
    pub month: u8,
    /// From 1.
    pub day: u8,
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}-{:02}", self.year, self.month, self.day)
    }
}

/// What tells sets apart: eight characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SetId([u8; SET_ID]);

impl fmt::Display for SetId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let characters = line::characters(&self.0);
        let (front, back) = characters.split_at_checked(4).unwrap_or((&characters, ""));
        write!(f, "{front}-{back}")
    }
}

/// How a set is made: the same on all its sheets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// So many sheets are needed.
    pub threshold: u8,
    /// So many there are.
    pub sheets: u8,
    /// When they were made.
    pub date: Date,
}

impl Terms {
    pub(super) fn to_bytes(self) -> [u8; 6] {
        let Self { threshold, sheets, date: Date { year, month, day } } = self;
        let [high, low] = year.to_be_bytes();
        [threshold, sheets, high, low, month, day]
    }

    pub(super) fn are_possible(&self) -> bool {
        2 <= self.threshold && self.threshold <= self.sheets
    }
}

/// What is the same on all sheets of a set.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Common {
    pub(super) tenant: String,
    pub(super) sealed: Vec<u8>,
}

impl Common {
    fn to_bytes(&self) -> Result<Vec<u8>, TooLong> {
        let mut bytes = Vec::new();
        put_text(&mut bytes, &self.tenant)?;
        bytes.extend_from_slice(&u16::try_from(self.sealed.len()).map_err(|_| TooLong)?.to_be_bytes());
        bytes.extend_from_slice(&self.sealed);
        bytes.resize(bytes.len().next_multiple_of(BYTES), 0);
        Ok(bytes)
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut rest = Reader(bytes);
        let tenant = rest.text()?;
        let length = u16::from_be_bytes(*rest.array()?);
        let sealed = rest.take(length.into())?.to_vec();
        if rest.0.len() >= BYTES || rest.0.iter().any(|byte| *byte != 0) {
            return Err(Malformed);
        }
        Ok(Self { tenant, sealed })
    }
}

/// A sheet: one share of a set, and what all sheets of the set hold.
pub struct Sheet {
    pub(super) set: SetId,
    pub(super) terms: Terms,
    pub(super) number: u8,
    pub(super) share: Share,
    pub(super) common: Option<Common>,
    /// Lines of what is common.
    lines: u8,
}

/// All sheets of a set, from its shares in order.
pub(super) fn make_set(terms: Terms, common: &Common, shares: Vec<Share>) -> Result<Vec<Sheet>, TooLong> {
    let bytes = common.to_bytes()?;
    let lines = u8::try_from(bytes.len() / BYTES).ok().filter(|n| *n <= u8::MAX - OWN).ok_or(TooLong)?;
    let set = set_id(terms, &bytes);
    let sheet = |(number, share)| Sheet { set, terms, number, share, common: Some(common.clone()), lines };
    Ok((1..=terms.sheets).zip(shares).map(sheet).collect())
}

fn set_id(terms: Terms, common: &[u8]) -> SetId {
    let digest: [u8; 32] = Sha256::new()
        .chain_update(b"trefoil escrow set 1")
        .chain_update(terms.to_bytes())
        .chain_update(common)
        .finalize()
        .into();
    let [a, b, c, d, e, ..] = digest;
    SetId([a, b, c, d, e])
}

impl Sheet {
    /// What tells its set from others.
    pub fn set(&self) -> SetId {
        self.set
    }

    /// Its number in the set, from 1.
    pub fn number(&self) -> u8 {
        self.number
    }

    /// How the set was made.
    pub fn terms(&self) -> Terms {
        self.terms
    }

    /// The tenant's name; missing on a text that has lines 1 and 2 alone.
    pub fn tenant(&self) -> Option<&str> {
        self.common.as_ref().map(|common| common.tenant.as_str())
    }

    /// The number of the last line that belongs to the sheet.
    pub fn last_line(&self) -> u8 {
        OWN + self.lines
    }

    /// Reads a sheet that was printed, scanned or typed. Lines 3 and following may be missing all
    /// together: another sheet of the set has them too.
    ///
    /// # Errors
    /// Whatever is not exactly what was printed, with the lines' numbers.
    pub fn parse(text: &str) -> Result<Self, SheetError> {
        let lines = Lines::find(text);
        let first = match lines.bytes(1, &[]) {
            Ok(first) => first,
            Err(Problem::Missing) => return Err(SheetError::NotASheet),
            Err(problem) => return Err(SheetError::Lines(vec![(1, problem)])),
        };
        let mut head = Reader(&first);
        match head.byte()? {
            VERSION => {}
            other => return Err(SheetError::Version(other)),
        }
        let set = SetId(*head.array()?);
        let number = head.byte()?;
        let [threshold, sheets, high, low, month, day] = *head.array()?;
        let date = Date { year: u16::from_be_bytes([high, low]), month, day };
        let terms = Terms { threshold, sheets, date };
        let common_lines = head.byte()?;
        if !terms.are_possible() || number == 0 || number > sheets || common_lines > u8::MAX - OWN {
            return Err(SheetError::Malformed);
        }

        let mut problems = Vec::new();
        let mut line = |number, context: &[u8]| {
            let bytes = lines.bytes(number, context);
            bytes.unwrap_or_else(|problem| {
                problems.push((number, problem));
                Zeroizing::default()
            })
        };
        let second = line(2, &own_context(set, number));
        let last = OWN + common_lines;
        let has_common = lines.last() > OWN;
        let common: Option<Vec<u8>> =
            has_common.then(|| (OWN + 1..=last).flat_map(|n| line(n, &set.0).to_vec()).collect());
        if has_common && lines.last() > last {
            problems.push((lines.last(), Problem::Extra));
        }
        if !problems.is_empty() {
            return Err(SheetError::Lines(problems));
        }

        let own = Zeroizing::new([head.0, second.as_slice()].concat());
        let mut own = Reader(&own);
        let share = Share::from_bytes(*own.array()?);
        if own.0.iter().any(|byte| *byte != 0) {
            return Err(SheetError::Malformed);
        }
        let common = match common {
            Some(bytes) if set_id(terms, &bytes) != set => return Err(SheetError::Malformed),
            Some(bytes) => Some(Common::from_bytes(&bytes)?),
            None => None,
        };
        Ok(Self { set, terms, number, share, common, lines: common_lines })
    }

    /// The sheet as text for a printer, at most 72 columns wide.
    pub fn to_text(&self) -> Zeroizing<String> {
        // More room than any sheet takes: a buffer that grows leaves its former place behind unwiped.
        let mut out = Zeroizing::new(String::with_capacity(2048 + 64 * usize::from(self.last_line())));
        let _ = self.print(&mut out);
        out
    }

    fn print(&self, out: &mut String) -> fmt::Result {
        let Self { set, number, terms: Terms { threshold, sheets, date }, .. } = self;
        let last = self.last_line();
        writeln!(out, "TREFOIL KEY ESCROW\n")?;
        writeln!(out, "    tenant   {}", self.tenant().unwrap_or("see another sheet of the set"))?;
        writeln!(out, "    sheet    {number} of {sheets}")?;
        writeln!(out, "    set      {set}, made on {date}\n")?;
        writeln!(
            out,
            "Any {threshold} of the {sheets} sheets of this set together are the tenant's keys:\n\
             whoever has them reads all protected data. Fewer say nothing.\n\
             Keep this sheet where no other one is, and off any network.\n"
        )?;
        let mut own = Zeroizing::new(Vec::with_capacity(usize::from(OWN) * BYTES));
        own.push(VERSION);
        own.extend_from_slice(&set.0);
        own.push(*number);
        own.extend_from_slice(&self.terms.to_bytes());
        own.push(self.lines);
        own.extend_from_slice(self.share.as_bytes());
        let (first, second) = own.split_at_checked(BYTES).unwrap_or((&own, &[]));
        line::print(1, &[], first, out);
        line::print(2, &own_context(*set, *number), second, out);
        if let Some(bytes) = self.common.as_ref().and_then(|common| common.to_bytes().ok()) {
            for (number, bytes) in (OWN + 1..=last).zip(bytes.chunks(BYTES)) {
                line::print(number, &set.0, bytes, out);
            }
        }
        writeln!(
            out,
            "\nTo use it, type the numbered lines into a file that only you may read.\n\
             Capitals, spaces, O for 0 and I or L for 1 do not matter. Lines {} to {last}\n\
             are the same on all sheets of the set: one file must have them, in\n\
             the others lines 1 and 2 are enough. Then:\n\n    \
             trefoil-admin escrow check FILE\n    \
             trefoil-admin escrow recover FILE FILE ...",
            OWN + 1
        )
    }
}

/// A line of another sheet of the same set does not pass for line 2.
fn own_context(SetId([a, b, c, d, e]): SetId, number: u8) -> [u8; SET_ID + 1] {
    [a, b, c, d, e, number]
}
