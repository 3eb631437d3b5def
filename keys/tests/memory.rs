//! Keys are gone from this process's memory, stacks and freed heap included, once their owners are dropped.
//!
//! The test looks at all writable memory through /proc/self/mem. It never holds the bytes that it looks
//! for, only their complements. One test per process: another thread's keys would be found too.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test")]

use std::fs::{File, read_to_string};
use std::os::unix::fs::FileExt;
use trefoil_keys::cell::{ColumnKey, Mode};
use trefoil_keys::secret::Share;
use trefoil_keys::share;

const PIECE: usize = 16;

/// The complement of each 16 bytes of a key.
fn pieces(hex: &str) -> Vec<[u8; PIECE]> {
    let digits = |i| !u8::from_str_radix(&hex[i..i + 2], 16).unwrap();
    let key: Vec<u8> = (0..hex.len()).step_by(2).map(digits).collect();
    key.chunks_exact(PIECE).map(|piece| piece.try_into().unwrap()).collect()
}

/// How many times any of the pieces is in memory.
fn found(pieces: &[[u8; PIECE]]) -> usize {
    let memory = File::open("/proc/self/mem").unwrap();
    let mut buffer = vec![0; 1 << 16];
    let mut starts = [false; 256];
    pieces.iter().for_each(|piece| starts[usize::from(!piece[0])] = true);
    let mut count = 0;
    for line in read_to_string("/proc/self/maps").unwrap().lines() {
        let mut words = line.split(' ');
        let (range, rights) = (words.next().unwrap(), words.next().unwrap());
        if !rights.starts_with("rw") {
            continue;
        }
        let (start, end) = range.split_once('-').unwrap();
        let (mut at, end) = (u64::from_str_radix(start, 16).unwrap(), u64::from_str_radix(end, 16).unwrap());
        while at < end {
            let length = usize::try_from(end - at).unwrap().min(buffer.len());
            let Ok(read) = memory.read_at(&mut buffer[..length], at) else { break };
            let is_piece = |window: &[u8], piece: &[u8]| window.iter().zip(piece).all(|(w, p)| *w == !*p);
            let may_start = |window: &&[u8]| starts[usize::from(window[0])];
            count += buffer[..read]
                .windows(PIECE)
                .filter(may_start)
                .filter(|window| pieces.iter().any(|piece| is_piece(window, piece)))
                .count();
            // What is found must not be found again, in this buffer.
            buffer.fill(0);
            // Chunks overlap, so that no key is cut in two, and the last one ends at the end.
            at += if read < PIECE { break } else { u64::try_from(read - (PIECE - 1)).unwrap() };
        }
    }
    count
}

#[test]
fn dropped_keys_are_gone() {
    let shares: serde_json::Value = serde_json::from_str(include_str!("vectors/shares.json")).unwrap();
    let cells: serde_json::Value = serde_json::from_str(include_str!("vectors/cells.json")).unwrap();
    let tk_pieces = pieces(shares["tk"].as_str().unwrap());
    // The first vector: a deterministic cell of this key and domain.
    let vector = &cells[0];
    let column_pieces = pieces(vector["column_key"].as_str().unwrap());
    let (keyspace, domain) = (vector["keyspace"].as_str().unwrap(), vector["domain"].as_str().unwrap());
    let [user, application, proxy] = ["user", "application", "proxy"]
        .map(|name| Share::from_base64url(shares[name].as_str().unwrap()).unwrap());

    assert_eq!((found(&tk_pieces), found(&column_pieces)), (0, 0), "before the keys exist");

    let tk = share::combine(&user, &application, &proxy);
    assert!(found(&tk_pieces) > 0, "the tenant key lives: the search works");
    let key = ColumnKey::derive(&tk, keyspace, domain, Mode::Deterministic);
    assert!(found(&column_pieces) > 0, "the column key lives: the search works");
    drop(key);
    assert_eq!(found(&column_pieces), 0, "after derivation");

    let (mut cell, mut opened) = (Vec::new(), Vec::new());
    let mut key = ColumnKey::derive(&tk, keyspace, domain, Mode::Deterministic);
    key.seal(1, b"a value of more than one block", &mut cell);
    drop(key);
    assert_eq!(found(&column_pieces), 0, "after sealing");

    let mut key = ColumnKey::derive(&tk, keyspace, domain, Mode::Deterministic);
    key.open(&cell, &mut opened).unwrap();
    drop(key);
    assert_eq!(found(&column_pieces), 0, "after opening");

    drop(tk);
    assert_eq!(found(&tk_pieces), 0, "after the tenant key is dropped");
}
