//! Cells: what the server sends in a protected column. The first byte says in which mode.

use trefoil_keys::cell::partial::{Epochs, PartialKey};
use trefoil_keys::cell::{self, ColumnKey, Mode};
use trefoil_keys::secret::TenantKey;
use zeroize::Zeroizing;

/// Opens any bytes, and makes a cell of them that no changed byte opens.
pub fn run(data: &[u8]) -> bool {
    let Some((&choice, bytes)) = data.split_first() else { return false };
    let mode = if choice & 1 == 0 { Mode::Randomized } else { Mode::Deterministic };
    let tk = TenantKey::from_bytes(Zeroizing::new([7; 32]));
    let mut full = ColumnKey::derive(&tk, "main", "d", mode);
    let mut partial = PartialKey::derive(&tk, "mask", "d", mode);
    let _ = (cell::epoch_of(bytes), cell::has_form(bytes));
    let mut out = b"before".to_vec();
    let opened = full.open(bytes, &mut out).is_ok();
    assert!(opened || out == b"before", "an unopened cell leaves something behind");
    let seen = partial.open(bytes, &mut out);
    assert!(opened || matches!(seen, Ok(true)) || out == b"before");

    let mut cell = Vec::new();
    let (visible, value) = bytes.split_at(bytes.len().min(usize::from(choice >> 4)));
    match choice & 2 {
        0 => full.seal(1, value, &mut cell),
        _ => partial
            .seal(&mut full, Epochs { full: 1, partial: 2 }, value, visible, &mut cell)
            .expect("it is short enough"),
    }
    assert!(cell::has_form(&cell));
    out.clear();
    full.open(&cell, &mut out).expect("its own cell");
    assert_eq!(out, value);
    let at = usize::from(choice) * 7 % cell.len();
    if let Some(byte) = cell.get_mut(at) {
        *byte ^= 1 << (choice & 7);
    }
    out.clear();
    assert!(full.open(&cell, &mut out).is_err() || partial.open(&cell, &mut out).is_err());
    opened
}

/// A cell of each mode.
pub fn seeds() -> Vec<Vec<u8>> {
    let tk = TenantKey::from_bytes(Zeroizing::new([7; 32]));
    let seed = |choice, mode| {
        let mut seed = vec![choice];
        ColumnKey::derive(&tk, "main", "d", mode).seal(1, b"value", &mut seed);
        seed
    };
    vec![seed(0, Mode::Randomized), seed(0x31, Mode::Deterministic)]
}
