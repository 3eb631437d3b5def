//! `cell = header ‖ nonce ‖ AES-256-SIV(column key, header, nonce; plaintext)` (RFC 5297), with
//! `column key = HKDF-SHA-256(TK, …keyspace, key domain, mode…)` of 64 bytes.
//!
//! `header` is two bytes: format version (high 4 bits) and mode (low 4 bits), key epoch. `nonce` is 16
//! random bytes in mode *randomized* and absent in mode *deterministic*. What fails authentication
//! leaves no plaintext behind. A cell may also carry a part of its value for others: [`partial`].

pub mod partial;

use crate::kdf::Purpose;
use crate::memory::wipe;
use crate::secret::{TenantKey, wipe_stack};
use crate::siv::{Rejected, Siv, TAG};
use rand::Rng;
use std::marker::PhantomData;

const VERSION: u8 = 1;
const HEADER: usize = 2;
const NONCE: usize = 16;

/// How a column is encrypted; the number is the low half of a cell's first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Equal values are different cells.
    Randomized = 1,
    /// Equal values are equal cells within a key domain.
    Deterministic = 2,
}

impl Mode {
    /// A cell's first byte.
    fn first_byte(self) -> u8 {
        (VERSION << 4) | self as u8
    }

    /// Bytes between a cell's header and its AES-SIV part.
    fn nonce_length(self) -> usize {
        match self {
            Mode::Randomized => NONCE,
            Mode::Deterministic => 0,
        }
    }

    /// Bytes by which a cell is longer than its plaintext; also the length of the shortest cell.
    pub fn overhead(self) -> usize {
        HEADER + self.nonce_length() + TAG
    }

    fn purpose(self) -> Purpose {
        match self {
            Mode::Randomized => Purpose::RandomizedCells,
            Mode::Deterministic => Purpose::DeterministicCells,
        }
    }
}

/// Why a cell could not be made or opened. Without table and column, which the caller knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CellError {
    /// Too short, or of another format version or mode than the column.
    #[error("the stored value is not a cell of this column's mode")]
    Malformed,
    /// Altered, moved from another column, or of another tenant key or epoch.
    #[error("the stored value fails authentication under this column's key")]
    Rejected,
    /// The part that others may see is longer than a cell can say.
    #[error("the value could not be encrypted")]
    Unsealable,
}

impl From<Rejected> for CellError {
    fn from(Rejected: Rejected) -> Self {
        Self::Rejected
    }
}

/// The key of one column (or of the columns that share a key domain), set up once for a burst of cells.
/// `!Send`, as the tenant key that it comes from.
pub struct ColumnKey {
    siv: Siv,
    mode: Mode,
    not_send: PhantomData<*const ()>,
}

impl ColumnKey {
    /// `HKDF-SHA-256(TK, keyspace ‖ domain ‖ mode)`.
    pub fn derive(tk: &TenantKey, keyspace: &str, domain: &str, mode: Mode) -> Self {
        let siv = derive_siv(tk, keyspace, domain.as_bytes(), mode.purpose());
        Self { siv, mode, not_send: PhantomData }
    }

    /// Appends the cell of `plaintext` to `out`.
    pub fn seal(&mut self, epoch: u8, plaintext: &[u8], out: &mut Vec<u8>) {
        let header = [self.mode.first_byte(), epoch];
        out.reserve(self.mode.overhead() + plaintext.len());
        out.extend_from_slice(&header);
        match self.mode {
            Mode::Randomized => {
                let mut nonce = [0; NONCE];
                rand::rng().fill_bytes(&mut nonce);
                out.extend_from_slice(&nonce);
                self.siv.seal(&[&header, &nonce], plaintext, out);
            }
            Mode::Deterministic => self.siv.seal(&[&header], plaintext, out),
        }
    }

    /// Appends the plaintext of `cell` to `out`.
    ///
    /// # Errors
    /// [`CellError::Malformed`], [`CellError::Rejected`]; `out` is then as before.
    pub fn open(&mut self, cell: &[u8], out: &mut Vec<u8>) -> Result<(), CellError> {
        let Parts { header, nonce, full, .. } = Parts::of(cell, self.mode)?;
        let opened = match self.mode {
            Mode::Randomized => self.siv.open(&[header, nonce], full, out),
            Mode::Deterministic => self.siv.open(&[header], full, out),
        };
        Ok(opened?)
    }
}

/// A cell of either form, taken apart; nothing of it is authenticated yet.
struct Parts<'c> {
    header: &'c [u8],
    nonce: &'c [u8],
    /// AES-SIV of the whole value.
    full: &'c [u8],
    /// AES-SIV of what is visible of it, where the cell has that.
    partial: Option<&'c [u8]>,
}

impl<'c> Parts<'c> {
    fn of(cell: &'c [u8], mode: Mode) -> Result<Self, CellError> {
        let first = *cell.first().ok_or(CellError::Malformed)?;
        let with_partial = first == partial::first_byte(mode);
        if !with_partial && first != mode.first_byte() {
            return Err(CellError::Malformed);
        }
        let length = if with_partial { partial::HEADER } else { HEADER };
        let (header, rest) = cell.split_at_checked(length).ok_or(CellError::Malformed)?;
        let (nonce, sealed) = rest.split_at_checked(mode.nonce_length()).ok_or(CellError::Malformed)?;
        let (full, partial) = if with_partial {
            let visible = header.last().copied().map_or(0, usize::from);
            let end = sealed.len().checked_sub(TAG + visible).ok_or(CellError::Malformed)?;
            let (full, partial) = sealed.split_at_checked(end).ok_or(CellError::Malformed)?;
            (full, Some(partial))
        } else {
            (sealed, None)
        };
        if full.len() < TAG {
            return Err(CellError::Malformed);
        }
        Ok(Self { header, nonce, full, partial })
    }
}

/// Setting a key up leaves parts of its schedules in frames that have returned.
impl Drop for ColumnKey {
    fn drop(&mut self) {
        wipe_stack();
    }
}

/// AES-256-SIV under 64 bytes that TK derives.
pub(crate) fn derive_siv(tk: &TenantKey, keyspace: &str, context: &[u8], purpose: Purpose) -> Siv {
    let mut key = [0; 64];
    tk.derive(keyspace, context, purpose, &mut key);
    let siv = Siv::new(&key);
    wipe(key.as_mut_slice());
    siv
}

/// The key epoch of a cell of any mode.
///
/// # Errors
/// [`CellError::Malformed`] if it is too short or of another format version.
pub fn epoch_of(cell: &[u8]) -> Result<u8, CellError> {
    match cell {
        [first, epoch, ..] if first >> 4 == VERSION => Ok(*epoch),
        _ => Err(CellError::Malformed),
    }
}

/// Whether these bytes may be a cell of any mode and form, by their beginning and length: few other values
/// may.
pub fn has_form(bytes: &[u8]) -> bool {
    [Mode::Randomized, Mode::Deterministic].iter().any(|mode| Parts::of(bytes, *mode).is_ok())
}

/// The SQL condition that only a well-formed cell of this mode passes, for the column's CHECK.
/// `quoted_column` is the column's name as SQL writes it.
pub fn check_constraint(mode: Mode, quoted_column: &str) -> String {
    let (shortest, first) = (mode.overhead(), mode.first_byte());
    format!("octet_length({quoted_column}) >= {shortest} AND get_byte({quoted_column}, 0) = {first}")
}

#[cfg(test)]
mod tests {
    use super::{CellError, ColumnKey, Mode, check_constraint, epoch_of, has_form};
    use crate::secret::TenantKey;
    use proptest::prelude::{Just, Strategy, any, prop, prop_oneof, proptest};

    fn key(tk: &TenantKey, mode: Mode) -> ColumnKey {
        ColumnKey::derive(tk, "main", "public.patients.ssn", mode)
    }

    fn modes() -> impl Strategy<Value = Mode> {
        prop_oneof![Just(Mode::Randomized), Just(Mode::Deterministic)]
    }

    fn sealed(key: &mut ColumnKey, plaintext: &[u8]) -> Vec<u8> {
        let mut cell = Vec::new();
        key.seal(1, plaintext, &mut cell);
        cell
    }

    proptest! {
        #[test]
        fn what_is_sealed_opens(
            mode in modes(),
            epoch in any::<u8>(),
            texts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..80), 0..6),
        ) {
            let tk = TenantKey::generate();
            let mut key = key(&tk, mode);
            // Many cells of one burst, one after the other in one buffer.
            let (mut cells, mut opened, mut expected) = (b"before".to_vec(), b"before".to_vec(), b"before".to_vec());
            for text in &texts {
                let start = cells.len();
                key.seal(epoch, text, &mut cells);
                assert_eq!(cells.len() - start, mode.overhead() + text.len());
                assert_eq!(epoch_of(&cells[start..]), Ok(epoch));
                key.open(&cells[start..], &mut opened).unwrap();
                expected.extend_from_slice(text);
            }
            assert!(cells.starts_with(b"before"));
            assert_eq!(opened, expected);
        }

        #[test]
        fn an_altered_cell_is_refused_and_leaves_nothing(
            mode in modes(),
            text in prop::collection::vec(any::<u8>(), 0..40),
            position in any::<prop::sample::Index>(),
            bit in 0..8_u32,
        ) {
            let mut key = key(&TenantKey::generate(), mode);
            let mut cell = sealed(&mut key, &text);
            let position = position.index(cell.len());
            cell[position] ^= 1_u8 << bit;
            let mut out = b"before".to_vec();
            assert!(key.open(&cell, &mut out).is_err());
            assert_eq!(out, b"before");
        }

        #[test]
        fn any_bytes_are_refused(mode in modes(), bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let mut out = Vec::new();
            assert!(key(&TenantKey::generate(), mode).open(&bytes, &mut out).is_err());
            assert!(out.is_empty());
        }
    }

    #[test]
    fn equal_values_are_equal_cells_only_when_deterministic() {
        let tk = TenantKey::generate();
        for (mode, equal) in [(Mode::Deterministic, true), (Mode::Randomized, false)] {
            let mut key = key(&tk, mode);
            assert_eq!(sealed(&mut key, b"x") == sealed(&mut key, b"x"), equal);
        }
        let mut other = ColumnKey::derive(&tk, "main", "public.patients.name", Mode::Deterministic);
        assert_ne!(sealed(&mut other, b"x"), sealed(&mut key(&tk, Mode::Deterministic), b"x"));
    }

    #[test]
    fn a_cell_opens_only_where_it_belongs() {
        let tk = TenantKey::generate();
        for mode in [Mode::Randomized, Mode::Deterministic] {
            let cell = sealed(&mut key(&tk, mode), b"x");
            let open = |mut key: ColumnKey| key.open(&cell, &mut Vec::new());
            assert_eq!(open(key(&tk, mode)), Ok(()));
            assert_eq!(open(key(&TenantKey::generate(), mode)), Err(CellError::Rejected));
            assert_eq!(open(ColumnKey::derive(&tk, "main", "ssn", mode)), Err(CellError::Rejected));
            let elsewhere = ColumnKey::derive(&tk, "billing", "public.patients.ssn", mode);
            assert_eq!(open(elsewhere), Err(CellError::Rejected));
        }
    }

    #[test]
    fn a_cell_of_another_form_is_malformed() {
        let tk = TenantKey::generate();
        let [mut randomized, mut deterministic] =
            [Mode::Randomized, Mode::Deterministic].map(|m| key(&tk, m));
        let mut out = Vec::new();
        let cell = sealed(&mut deterministic, b"");
        assert_eq!(randomized.open(&cell, &mut out), Err(CellError::Malformed));
        assert_eq!(deterministic.open(&sealed(&mut randomized, b""), &mut out), Err(CellError::Malformed));
        for length in 0..cell.len() {
            assert_eq!(deterministic.open(&cell[..length], &mut out), Err(CellError::Malformed));
        }
        assert_eq!(epoch_of(&[]), Err(CellError::Malformed));
        assert_eq!(epoch_of(&[0x12]), Err(CellError::Malformed));
        assert_eq!(epoch_of(&[0x22, 1]), Err(CellError::Malformed));
        assert_eq!(epoch_of(&[0x12, 1]), Ok(1));
    }

    #[test]
    fn few_bytes_have_a_cells_form() {
        let tk = TenantKey::generate();
        for mode in [Mode::Randomized, Mode::Deterministic] {
            let cell = sealed(&mut key(&tk, mode), b"");
            assert!(has_form(&cell) && !has_form(&cell[..cell.len() - 1]));
            let mut with_partial = vec![mode.first_byte() | 8, 1, 1, 2];
            with_partial.resize(super::partial::overhead(mode) + 2, 0);
            assert!(has_form(&with_partial) && !has_form(&with_partial[1..]));
            with_partial.pop();
            assert!(!has_form(&with_partial));
        }
        assert!(!has_form(b"") && !has_form(&[0x13; 80]) && !has_form(b"a text that is long enough for one"));
    }

    #[test]
    fn check_constraints() {
        assert_eq!(
            check_constraint(Mode::Deterministic, "ssn"),
            "octet_length(ssn) >= 18 AND get_byte(ssn, 0) = 18"
        );
        assert_eq!(
            check_constraint(Mode::Randomized, r#""Name""#),
            r#"octet_length("Name") >= 34 AND get_byte("Name", 0) = 17"#
        );
    }
}
