//! Cells that carry, beside the whole value, the part of it that holders of *another* keyspace may see:
//!
//! ```text
//! cell    = header ‖ nonce ‖ full ‖ partial
//! full    = AES-256-SIV(column key, header, nonce; plaintext)
//! partial = AES-256-SIV(partial key, header, nonce, full; visible part)
//! partial key = HKDF-SHA-256(TK of the mask keyspace, mask keyspace ‖ key domain ‖ "partial cells")
//! ```
//!
//! `header` is four bytes: format version and mode as in other cells, with bit 3 set; epoch of the column's
//! keyspace; epoch of the mask keyspace; length of the visible part. The nonce is absent in mode
//! *deterministic*. The partial is bound to the full part: it cannot be put into another cell, and it is
//! equal only where the whole value is, so equal endings do not show. Whoever holds only one of the two
//! keys opens its own part and nothing of the other.

use super::{CellError, ColumnKey, Mode, NONCE, Parts, derive_siv};
use crate::kdf::Purpose;
use crate::secret::{TenantKey, wipe_stack};
use crate::siv::{Siv, TAG};
use rand::Rng;
use std::marker::PhantomData;

/// Says in the first byte that a cell has a partial.
const BIT: u8 = 0b1000;
pub(super) const HEADER: usize = 4;
/// Most bytes of a visible part: its length is one byte.
pub const MAX_VISIBLE: usize = u8::MAX as usize;

/// The first byte of a cell of this form.
pub(super) fn first_byte(mode: Mode) -> u8 {
    mode.first_byte() | BIT
}

/// Bytes by which such a cell is longer than its plaintext and its visible part together.
pub fn overhead(mode: Mode) -> usize {
    HEADER + mode.nonce_length() + 2 * TAG
}

/// The epochs of the two tenant keys that a cell is sealed under.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Epochs {
    /// Of the column's keyspace.
    pub full: u8,
    /// Of the mask keyspace.
    pub partial: u8,
}

/// The key of the visible parts in one column, or in the columns that share a key domain. `!Send`, as the
/// tenant key that it comes from.
pub struct PartialKey {
    siv: Siv,
    mode: Mode,
    not_send: PhantomData<*const ()>,
}

impl PartialKey {
    /// `HKDF-SHA-256(TK, mask keyspace ‖ domain ‖ "partial cells")`; `tk` is the mask keyspace's.
    pub fn derive(tk: &TenantKey, mask_keyspace: &str, domain: &str, mode: Mode) -> Self {
        let siv = derive_siv(tk, mask_keyspace, domain.as_bytes(), Purpose::PartialCells);
        Self { siv, mode, not_send: PhantomData }
    }

    /// Appends the cell of `plaintext`, of which `visible` may be seen, to `out`. `column` is the key of the
    /// same column.
    ///
    /// # Errors
    /// [`CellError::Unsealable`], for a visible part longer than [`MAX_VISIBLE`], too; `out` is then as
    /// before.
    pub fn seal(
        &mut self,
        column: &mut ColumnKey,
        epochs: Epochs,
        plaintext: &[u8],
        visible: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), CellError> {
        let length = u8::try_from(visible.len()).map_err(|_| CellError::Unsealable)?;
        if column.mode != self.mode {
            return Err(CellError::Unsealable);
        }
        let header = [first_byte(self.mode), epochs.full, epochs.partial, length];
        let mut nonce = [0; NONCE];
        let nonce: &[u8] = match self.mode {
            Mode::Randomized => {
                rand::rng().fill_bytes(&mut nonce);
                &nonce
            }
            Mode::Deterministic => &[],
        };
        out.reserve(overhead(self.mode) + plaintext.len() + visible.len());
        out.extend_from_slice(&header);
        out.extend_from_slice(nonce);
        let full_start = out.len();
        match self.mode {
            Mode::Randomized => column.siv.seal(&[&header, nonce], plaintext, out),
            Mode::Deterministic => column.siv.seal(&[&header], plaintext, out),
        }
        let full = out.get(full_start..).unwrap_or_default().to_vec();
        match self.mode {
            Mode::Randomized => self.siv.seal(&[&header, nonce, &full], visible, out),
            Mode::Deterministic => self.siv.seal(&[&header, &full], visible, out),
        }
        Ok(())
    }

    /// Appends the visible part of `cell` to `out`; nothing, and false, if the cell is one without.
    ///
    /// # Errors
    /// [`CellError::Malformed`], [`CellError::Rejected`]; `out` is then as before.
    pub fn open(&mut self, cell: &[u8], out: &mut Vec<u8>) -> Result<bool, CellError> {
        let Parts { header, nonce, full, partial } = Parts::of(cell, self.mode)?;
        let Some(partial) = partial else { return Ok(false) };
        match self.mode {
            Mode::Randomized => self.siv.open(&[header, nonce, full], partial, out),
            Mode::Deterministic => self.siv.open(&[header, full], partial, out),
        }?;
        Ok(true)
    }
}

/// Setting a key up leaves parts of its schedules in frames that have returned.
impl Drop for PartialKey {
    fn drop(&mut self) {
        wipe_stack();
    }
}

/// The SQL condition that only a well-formed cell of this form passes, for the column's CHECK.
/// `quoted_column` is the column's name as SQL writes it.
pub fn check_constraint(mode: Mode, quoted_column: &str) -> String {
    let (shortest, first) = (overhead(mode), first_byte(mode));
    format!("octet_length({quoted_column}) >= {shortest} AND get_byte({quoted_column}, 0) = {first}")
}

#[cfg(test)]
mod tests {
    use super::{CellError, ColumnKey, Epochs, MAX_VISIBLE, Mode, PartialKey, check_constraint, overhead};
    use crate::cell::epoch_of;
    use crate::secret::TenantKey;
    use proptest::prelude::{Just, Strategy, any, prop, prop_oneof, proptest};

    const DOMAIN: &str = "public.patients.ssn";
    const EPOCHS: Epochs = Epochs { full: 3, partial: 7 };

    struct Keys {
        full: ColumnKey,
        partial: PartialKey,
    }

    impl Keys {
        fn of(clinical: &TenantKey, main: &TenantKey, domain: &str, mode: Mode) -> Self {
            Self {
                full: ColumnKey::derive(clinical, "clinical", domain, mode),
                partial: PartialKey::derive(main, "main", domain, mode),
            }
        }

        fn generate(mode: Mode) -> Self {
            Self::of(&TenantKey::generate(), &TenantKey::generate(), DOMAIN, mode)
        }

        fn seal(&mut self, text: &[u8], visible: &[u8]) -> Vec<u8> {
            let mut cell = Vec::new();
            self.partial.seal(&mut self.full, EPOCHS, text, visible, &mut cell).unwrap();
            cell
        }

        /// What the holder of each key gets.
        fn open(&mut self, cell: &[u8]) -> [Result<Vec<u8>, CellError>; 2] {
            let (mut text, mut visible) = (Vec::new(), Vec::new());
            let full = self.full.open(cell, &mut text).map(|()| text);
            [full, self.partial.open(cell, &mut visible).map(|_| visible)]
        }
    }

    fn modes() -> impl Strategy<Value = Mode> {
        prop_oneof![Just(Mode::Randomized), Just(Mode::Deterministic)]
    }

    proptest! {
        #[test]
        fn each_key_opens_its_part(
            mode in modes(),
            text in prop::collection::vec(any::<u8>(), 0..80),
            visible in prop::collection::vec(any::<u8>(), 0..20),
        ) {
            let mut keys = Keys::generate(mode);
            let cell = keys.seal(&text, &visible);
            assert_eq!(cell.len(), overhead(mode) + text.len() + visible.len());
            assert_eq!(epoch_of(&cell), Ok(EPOCHS.full));
            assert_eq!(keys.open(&cell), [Ok(text), Ok(visible)]);
        }

        /// Neither key shows anything of a cell that was altered in what it authenticates: the partial's
        /// authenticates all of it.
        #[test]
        fn an_altered_cell_shows_no_part(
            mode in modes(),
            text in prop::collection::vec(any::<u8>(), 0..40),
            visible in prop::collection::vec(any::<u8>(), 0..9),
            position in any::<prop::sample::Index>(),
            bit in 0..8_u32,
        ) {
            let mut keys = Keys::generate(mode);
            let mut cell = keys.seal(&text, &visible);
            let position = position.index(cell.len());
            cell[position] ^= 1_u8 << bit;
            let [full, partial] = keys.open(&cell);
            // By its first byte it may be taken for a cell without a partial.
            assert!(partial.is_err() || (position == 0 && partial == Ok(Vec::new())));
            let of_partial = cell.len() - 16 - visible.len();
            assert!(full.is_err() || (position >= of_partial && full == Ok(text)));
        }

        #[test]
        fn any_bytes_are_refused(mode in modes(), mut bytes in prop::collection::vec(any::<u8>(), 1..90)) {
            bytes[0] = super::first_byte(mode);
            assert!(Keys::generate(mode).open(&bytes).iter().all(Result::is_err));
        }
    }

    #[test]
    fn a_part_of_one_cell_does_not_pass_in_another() {
        for mode in [Mode::Randomized, Mode::Deterministic] {
            let mut keys = Keys::generate(mode);
            let (one, other) = (keys.seal(b"078-05-1120", b"1120"), keys.seal(b"219-09-9999", b"9999"));
            let mixed = [&one[..one.len() - 20], &other[other.len() - 20..]].concat();
            assert_eq!(keys.open(&mixed)[1], Err(CellError::Rejected));
        }
    }

    #[test]
    fn deterministic_cells_are_equal_where_the_whole_value_is_and_not_where_its_end_is() {
        let mut keys = Keys::generate(Mode::Deterministic);
        let (a, b) = (keys.seal(b"078-05-1120", b"1120"), keys.seal(b"999-99-1120", b"1120"));
        assert_eq!(a, keys.seal(b"078-05-1120", b"1120"));
        assert_ne!(a[a.len() - 20..], b[b.len() - 20..]);
        let mut randomized = Keys::generate(Mode::Randomized);
        assert_ne!(randomized.seal(b"x", b""), randomized.seal(b"x", b""));
    }

    #[test]
    fn a_part_opens_only_where_it_belongs() {
        let [clinical, main] = [TenantKey::generate(), TenantKey::generate()];
        for mode in [Mode::Randomized, Mode::Deterministic] {
            let mut keys = Keys::of(&clinical, &main, DOMAIN, mode);
            let cell = keys.seal(b"078-05-1120", b"1120");
            let [full, partial] = Keys::of(&clinical, &main, "public.staff.ssn", mode).open(&cell);
            assert_eq!((full, partial), (Err(CellError::Rejected), Err(CellError::Rejected)));
            // The keyspaces' keys exchanged: neither half opens under the other's.
            let [full, partial] = Keys::of(&main, &clinical, DOMAIN, mode).open(&cell);
            assert_eq!((full, partial), (Err(CellError::Rejected), Err(CellError::Rejected)));
        }
    }

    #[test]
    fn cells_with_and_without_a_part_are_read_by_the_same_keys() {
        for mode in [Mode::Randomized, Mode::Deterministic] {
            let mut keys = Keys::generate(mode);
            let mut old = Vec::new();
            keys.full.seal(3, b"from before", &mut old);
            let (mut visible, mut text) = (Vec::new(), Vec::new());
            assert_eq!(keys.partial.open(&old, &mut visible), Ok(false));
            assert!(visible.is_empty());
            keys.full.open(&old, &mut text).unwrap();
            assert_eq!(text, b"from before");
            // Nor can one be made the other by its first byte.
            old[0] = super::first_byte(mode);
            assert!(keys.open(&old).iter().all(Result::is_err));
        }
    }

    #[test]
    fn a_visible_part_has_a_length_of_one_byte() {
        let mut keys = Keys::generate(Mode::Deterministic);
        let mut out = b"before".to_vec();
        let long = [b'x'; MAX_VISIBLE + 1];
        let sealed = keys.partial.seal(&mut keys.full, EPOCHS, b"text", &long, &mut out);
        assert_eq!(sealed, Err(CellError::Unsealable));
        assert_eq!(out, b"before");
        assert!(keys.partial.seal(&mut keys.full, EPOCHS, b"text", &long[1..], &mut out).is_ok());
        let mut randomized = ColumnKey::derive(&TenantKey::generate(), "clinical", DOMAIN, Mode::Randomized);
        let sealed = keys.partial.seal(&mut randomized, EPOCHS, b"text", b"", &mut Vec::new());
        assert_eq!(sealed, Err(CellError::Unsealable));
    }

    #[test]
    fn check_constraints() {
        assert_eq!(
            check_constraint(Mode::Deterministic, "ssn"),
            "octet_length(ssn) >= 36 AND get_byte(ssn, 0) = 26"
        );
        assert_eq!(
            check_constraint(Mode::Randomized, "ssn"),
            "octet_length(ssn) >= 52 AND get_byte(ssn, 0) = 25"
        );
    }
}
