//! COPY's data in its three formats, both ways. Four bytes choose options, direction and where the data is
//! cut: what comes out must not depend on it, and no protected value may come out as it went in.

use std::sync::Arc;
use trefoil_columns::copy::{Column, Direction, Format, Header, Layout, Stream};
use trefoil_columns::error::ClientError;

/// Longest row.
const LIMIT: usize = 512;

/// Stands for a cell, and for what a cell stands for.
const REPLACED: &[u8] = b"\\x00";

/// Puts the data through whole, and in pieces.
pub fn run(data: &[u8]) -> bool {
    let Some((&[options, more, piece, columns], data)) = data.split_first_chunk() else { return false };
    let layout = Arc::new(layout(options, more, columns));
    let direction = match options & 4 {
        0 => Direction::In { end_marker: more & 1 == 0 },
        _ => Direction::Out,
    };
    let whole = put_through(&layout, direction, data, data.len().max(1));
    let pieces = put_through(&layout, direction, data, usize::from(piece) + 1);
    // In one piece a row may be longer than what is kept of one in pieces.
    if data.len() <= LIMIT {
        assert_eq!(whole, pieces, "what comes out depends on how the data is cut");
    }
    let (done, out) = whole;
    let header_passes = layout.header == Header::Match || direction == Direction::Out;
    if layout.columns.iter().all(|column| column.cell) && !(header_passes && layout.header != Header::None) {
        assert!(!out.windows(6).any(|window| window == b"MARKER"), "a protected value comes out");
    }
    done
}

fn put_through(layout: &Arc<Layout>, direction: Direction, data: &[u8], piece: usize) -> (bool, Vec<u8>) {
    let mut stream = Stream::new(Arc::clone(layout), direction, LIMIT);
    let mut out = Vec::new();
    let mut replace = |index: usize, value: &[u8], out: &mut Vec<u8>| {
        assert!(layout.columns.get(index).is_some_and(|column| column.cell));
        if value.contains(&b'!') {
            return Err(ClientError::new("22P02", "bad", ""));
        }
        out.extend_from_slice(REPLACED);
        Ok(())
    };
    let mut done = true;
    for piece in data.chunks(piece) {
        done = done && stream.feed(piece, &mut replace, &mut out).is_ok();
    }
    done = done && stream.finish(&mut replace, &mut out).is_ok();
    (done, out)
}

/// Only options that PostgreSQL takes together.
fn layout(options: u8, more: u8, columns: u8) -> Layout {
    let format = match options & 3 {
        0 => Format::Text,
        1 => Format::Binary,
        _ => Format::Csv,
    };
    let csv = format == Format::Csv;
    let header = match (format, options >> 3 & 3) {
        (Format::Binary, _) | (_, 0 | 1) => Header::None,
        (_, 2) => Header::Skipped,
        _ => Header::Match,
    };
    let null: &[u8] = match (csv, more & 2) {
        (true, 0) => b"",
        (true, _) => b"NULL",
        (false, 0) => b"\\N",
        (false, _) => b"nil",
    };
    let column = |index: u8| Column {
        name: format!("c{index}"),
        cell: columns & (4 << index) != 0,
        force_quote: csv && more & 16 != 0,
        force_not_null: csv && more & 32 != 0,
        force_null: csv && more & 64 != 0,
    };
    Layout {
        format,
        header,
        delimiter: match (csv, more & 4) {
            (true, 0) => b',',
            (false, 0) => b'\t',
            _ => b'|',
        },
        null: null.to_vec(),
        default: (more & 8 != 0).then(|| b"\\D".to_vec()),
        quote: if options & 32 == 0 { b'"' } else { b'\'' },
        escape: match options & 0xc0 {
            0x40 => b'\\',
            _ if options & 32 == 0 => b'"',
            _ => b'\'',
        },
        columns: (0..=columns & 3).map(column).collect(),
    }
}

/// Data of each format, each way.
pub fn seeds() -> Vec<Vec<u8>> {
    let binary = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0\0\x03\0\0\0\x01a\xff\xff\xff\xff\0\0\0\x02bc\xff\xff";
    let seed = |options: [u8; 4], data: &[u8]| [&options[..], data].concat();
    vec![
        seed([0, 0, 3, 0xfe], b"1\tMARKER\\t\\x41\t\\N\n\\\\\t\\101\t\n\\.\n"),
        seed([0x10, 2, 3, 0xfe], b"c0\tc1\tc2\n1\tMARKER\tnil\n"),
        seed([4, 0, 0, 0xfe], b"1\t\\\\x01\t\\N\n2\t\\\\x\t\\\\x02\n"),
        seed([2, 0, 1, 0xfe], b"1,\"MAR\nKER \"\"quoted\"\"\",\r\n2,,\"\"\r\n"),
        seed([0x42, 0x26, 1, 0x0a], b"1|\"MARKER \\\" x\"|NULL\n\\.\n"),
        seed([6, 0x10, 2, 0xfe], b"1,\\x01,\n"),
        seed([1, 0, 4, 0xfe], binary),
        seed([5, 0, 4, 0xfe], binary),
    ]
}
