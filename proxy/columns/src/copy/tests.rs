//! Whole data in, whole data out; and the same however the data is cut.

use super::{Column, Direction, Format, Header, Layout, Stream};
use crate::error::ClientError;
use proptest::prelude::{ProptestConfig, any, proptest};
use std::sync::Arc;

const IN: Direction = Direction::In { end_marker: true };

/// Three columns, the second and third protected.
fn layout(format: Format) -> Layout {
    let csv = format == Format::Csv;
    let column = |name: &str, cell| Column { name: name.to_owned(), cell, ..Column::default() };
    Layout {
        format,
        header: Header::None,
        delimiter: if csv { b',' } else { b'\t' },
        null: if csv { Vec::new() } else { b"\\N".to_vec() },
        default: None,
        quote: b'"',
        escape: b'"',
        columns: vec![column("id", false), column("ssn", true), column("name", true)],
    }
}

/// A cell is the value's bytes, each with its highest bit turned.
fn turn(_: usize, value: &[u8], out: &mut Vec<u8>) -> Result<(), ClientError> {
    if value.contains(&b'!') {
        return Err(ClientError::new("22P02", "bad", ""));
    }
    out.extend(value.iter().map(|byte| byte ^ 0x80));
    Ok(())
}

/// The server shows a cell as bytea in hex.
fn turn_back(_: usize, value: &[u8], out: &mut Vec<u8>) -> Result<(), ClientError> {
    let digits = value.strip_prefix(b"\\x").ok_or_else(|| ClientError::new("XX001", "no bytea", ""))?;
    for pair in digits.chunks(2) {
        let byte = std::str::from_utf8(pair).ok().and_then(|pair| u8::from_str_radix(pair, 16).ok());
        out.push(byte.ok_or_else(|| ClientError::new("XX001", "no bytea", ""))? ^ 0x80);
    }
    Ok(())
}

fn run(layout: &Layout, direction: Direction, pieces: &[&[u8]]) -> Result<Vec<u8>, (ClientError, Vec<u8>)> {
    let mut stream = Stream::new(Arc::new(layout.clone()), direction, 1 << 20);
    let mut out = Vec::new();
    let binary = layout.format == Format::Binary;
    let mut replace = |index: usize, value: &[u8], out: &mut Vec<u8>| match direction {
        Direction::Out if !binary => turn_back(index, value, out),
        _ => turn(index, value, out),
    };
    let mut all = || {
        for piece in pieces {
            stream.feed(piece, &mut replace, &mut out)?;
        }
        stream.finish(&mut replace, &mut out)
    };
    match all() {
        Ok(()) => Ok(out),
        Err(error) => Err((error, out)),
    }
}

#[track_caller]
fn check(layout: &Layout, direction: Direction, input: &[u8], expected: &[u8]) {
    let whole = run(layout, direction, &[input]).map_err(|(error, _)| error).unwrap();
    assert_eq!(String::from_utf8_lossy(&whole), String::from_utf8_lossy(expected));
    let bytes: Vec<&[u8]> = input.chunks(1).collect();
    assert_eq!(run(layout, direction, &bytes).unwrap(), whole);
    for at in 0..input.len() {
        assert_eq!(run(layout, direction, &[&input[..at], &input[at..]]).unwrap(), whole, "cut at {at}");
    }
}

#[track_caller]
fn fails(layout: &Layout, input: &[u8], message: &str) {
    let (error, out) = run(layout, IN, &[input]).unwrap_err();
    assert_eq!((error.sqlstate, error.message.as_str()), ("22P04", message));
    assert!(!out.windows(6).any(|window| window == b"MARKER"), "{}", String::from_utf8_lossy(&out));
    let bytes: Vec<&[u8]> = input.chunks(1).collect();
    assert_eq!(run(layout, IN, &bytes).unwrap_err(), (error, out));
}

#[test]
fn text_in() {
    let text = layout(Format::Text);
    check(&text, IN, b"1\tA\tB\n2\t\\N\t\n", b"1\t\\\\xc1\t\\\\xc2\n2\t\\N\t\\\\x\n");
    check(
        &text,
        IN,
        b"\\N\tA\\tB\t\\101\r\n2\ta\tb\r\n",
        b"\\N\t\\\\xc189c2\t\\\\xc1\r\n2\t\\\\xe1\t\\\\xe2\r\n",
    );
    check(&text, IN, b"1\tA\tB\r2\ta\tb", b"1\t\\\\xc1\t\\\\xc2\r2\t\\\\xe1\t\\\\xe2");
    check(&text, IN, b"1\tA\\\nB\t\\\t\n", b"1\t\\\\xc18ac2\t\\\\x89\n");
    // What follows the end marker goes nowhere.
    check(&text, IN, b"1\tA\tB\n\\.\nMARKER\tMARKER", b"1\t\\\\xc1\t\\\\xc2\n\\.\n");
    check(&text, IN, b"\\.\r\nMARKER", b"\\.\r");
    check(&text, IN, b"1\tA\t\\", b"1\t\\\\xc1\t\\\\x");
    let odd = Layout { delimiter: b'|', null: b"NULL".to_vec(), ..text };
    check(&odd, IN, b"NULL|NULL|\\NULL\n", b"NULL|NULL|\\\\xced5cccc\n");
}

#[test]
fn text_that_is_wrong() {
    let text = layout(Format::Text);
    fails(&text, b"1\tA\tB\n2\tMARKER\n", "missing data for column \"name\"");
    fails(&text, b"1\tA\tB\tMARKER\n", "extra data after last expected column");
    fails(&text, b"1\tA\tMARKER\\.\n", "end-of-copy marker is not alone on its line");
    fails(&text, b"\\.MARKER\n", "end-of-copy marker corrupt");
    fails(&text, b"1\tA\tB\r\n\\.\n", "end-of-copy marker does not match previous newline style");
    fails(&text, b"1\tA\tB\n2\tMARKER\tC\r\n", "literal carriage return found in data");
    fails(&text, b"1\tA\tB\r\n2\tMARKER\tC\n", "literal newline found in data");
    let plain = Layout { columns: vec![Column { name: "id".to_owned(), ..Column::default() }], ..text };
    fails(&plain, b"1\tMARKER\n", "extra data after last expected column");
}

#[test]
fn a_bad_value_says_where_it_stands() {
    let (error, out) = run(&layout(Format::Text), IN, &[b"1\tA\tB\n2\tA\t!\n3\tA\tB\n"]).unwrap_err();
    assert_eq!(error.hint, "See line 2 of the data, column \"name\".");
    assert_eq!(out, b"1\t\\\\xc1\t\\\\xc2\n");
}

#[test]
fn csv_in() {
    let csv = layout(Format::Csv);
    check(&csv, IN, b"1,A,B\n2,,\"\"\n", b"1,\"\\xc1\",\"\\xc2\"\n2,,\"\\x\"\n");
    check(&csv, IN, b"\"1\",\"A,\"\"\n\",B\"\n\"\r\n", b"\"1\",\"\\xc1aca28a\",\"\\xc28a\"\r\n");
    check(&csv, IN, b"1,A,B\n\\.\nMARKER", b"1,\"\\xc1\",\"\\xc2\"\n\\.\n");
    check(&csv, IN, b"1,A,\\.\n", b"1,\"\\xc1\",\"\\xdcae\"\n");
    fails(&csv, b"1,A,\"MARKER", "unterminated CSV quoted field");
    fails(&csv, b"1,A\n", "missing data for column \"name\"");
    fails(&csv, b"1,A,B\n2,MARKER,\"x\"y\r\n", "unquoted carriage return found in data");
    let odd = Layout { quote: b'\'', escape: b'\\', delimiter: b'1', null: b"NULL".to_vec(), ..csv.clone() };
    check(&odd, IN, b"x1'\\'\\\\'1'NULL'\n", b"x1'\\\\xa7dc'1'\\\\xced5cccc'\n");
    let mut forced = Layout { null: b"NULL".to_vec(), ..csv };
    forced.columns[1].force_not_null = true;
    forced.columns[2].force_null = true;
    check(&forced, IN, b"1,NULL,\"NULL\"\n", b"1,\"\\xced5cccc\",\"NULL\"\n");
}

#[test]
fn csv_without_an_end_marker() {
    let mut one = layout(Format::Csv);
    one.columns.truncate(2);
    one.columns.remove(0);
    check(&one, Direction::In { end_marker: false }, b"\\.\nA\n", b"\"\\xdcae\"\n\"\\xc1\"\n");
    check(&one, Direction::Out, b"\\xdcae\n", b"\"\\.\"\n");
}

#[test]
fn headers() {
    let skipped = Layout { header: Header::Skipped, ..layout(Format::Csv) };
    check(&skipped, IN, b"MARKER,\"x\ny\",z\n1,A,B\n", b"\n1,\"\\xc1\",\"\\xc2\"\n");
    check(&skipped, Direction::Out, b"id,ssn,name\n1,,\\xc2\n", b"id,ssn,name\n1,,B\n");
    let matched = Layout { header: Header::Match, ..layout(Format::Csv) };
    check(&matched, IN, b"id,\"ssn\",name\n", b"id,\"ssn\",name\n");
    fails(&matched, b"id,MARKER,name\n", "column name mismatch in header line field 2");
    fails(&matched, b"id,MARKER\n", "wrong number of fields in header line: got 2, expected 3");
    let matched = Layout { header: Header::Match, ..layout(Format::Text) };
    check(&matched, IN, b"id\tssn\tname\n1\tA\tB\n", b"id\tssn\tname\n1\t\\\\xc1\t\\\\xc2\n");
}

#[test]
fn text_and_csv_out() {
    let text = layout(Format::Text);
    check(&text, Direction::Out, b"1\t\\\\xc189\t\\N\n", b"1\tA\\t\t\\N\n");
    let csv = layout(Format::Csv);
    check(&csv, Direction::Out, b"1,\\xc1ac,\n2,\\x,\\xc28aa2\n", b"1,\"A,\",\n2,\"\",\"B\n\"\"\"\n");
    let mut forced = layout(Format::Csv);
    forced.columns[1].force_quote = true;
    check(&forced, Direction::Out, b"1,\"\\xc1\",\\xc2\n", b"1,\"A\",B\n");
}

const BINARY: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";

#[test]
fn binary_both_ways() {
    let binary = layout(Format::Binary);
    let input = [BINARY, b"\0\x03\0\0\0\x01x\0\0\0\x02AB\xff\xff\xff\xff\xff\xff"].concat();
    let output = [BINARY, b"\0\x03\0\0\0\x01x\0\0\0\x02\xc1\xc2\xff\xff\xff\xff\xff\xff"].concat();
    check(&binary, IN, &input, &output);
    check(&binary, Direction::Out, &output, &input);
    check(&binary, IN, BINARY, BINARY);
    // An extension is not passed on.
    let extended = [&BINARY[..18], b"\x06MARKER", &input[19..]].concat();
    check(&binary, IN, &extended, &output);
    fails(&binary, b"PGCOPX\n\xff\r\n\0\0\0\0\0\0\0\0\0MARKER", "COPY file signature not recognized");
    fails(&binary, &[BINARY, b"\0\x01\0\0\0\x06MARKER"].concat(), "row field count is 1, expected 3");
    fails(&binary, &[BINARY, b"\0\x03\0\0\0\x09MARKER"].concat(), "unexpected EOF in COPY data");
    fails(&binary, &[BINARY, b"\0\x03\xff\xff\xff\xfeMARKER"].concat(), "invalid field size");
    fails(&binary, &[&input[..], b"MARKER"].concat(), "received copy data after EOF marker");
}

#[test]
fn a_row_has_a_limit() {
    let mut stream = Stream::new(Arc::new(layout(Format::Text)), IN, 100);
    let mut out = Vec::new();
    stream.feed(&[b'x'; 100], &mut turn, &mut out).unwrap();
    assert_eq!(stream.feed(b"x", &mut turn, &mut out).unwrap_err().sqlstate, "54000");
    assert!(out.is_empty());
}

fn csv_field(value: Option<&str>) -> String {
    value.map_or_else(String::new, |value| format!("\"{}\"", value.replace('"', "\"\"")))
}

fn text_field(value: Option<&str>) -> String {
    let escape = |value: &str| {
        value.replace('\\', "\\\\").replace('\n', "\\n").replace('\r', "\\r").replace('\t', "\\t")
    };
    value.map_or_else(|| "\\N".to_owned(), escape)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// What goes in comes back out, through cells that are never the values themselves.
    #[test]
    fn rows_come_back(
        rows in proptest::collection::vec(proptest::option::of("[ -~\n\r\t\u{e4}\\\\\",]{0,6}"), 1..20),
        csv in any::<bool>(),
        cut in any::<usize>(),
    ) {
        let layout = layout(if csv { Format::Csv } else { Format::Text });
        let mut data = String::new();
        for value in &rows {
            let value = value.as_deref().map(|value| value.replace('!', "?"));
            let line = if csv {
                format!("7,{0},{0}\n", csv_field(value.as_deref()))
            } else {
                format!("7\t{0}\t{0}\n", text_field(value.as_deref()))
            };
            data.push_str(&line);
        }
        let data = data.as_bytes();
        let (first, second) = data.split_at(cut % data.len());
        let cells = run(&layout, IN, &[first, second]).unwrap();
        assert_eq!(&cells, &run(&layout, IN, &[data]).unwrap());
        let back = run(&layout, Direction::Out, &[&cells]).unwrap();
        // CSV comes back without the quotes that it does not need.
        assert_eq!(run(&layout, IN, &[&back]).unwrap(), cells);
        if !csv {
            assert_eq!(back, data);
        }
    }

    #[test]
    fn any_bytes_never_panic(bytes: Vec<u8>, kind in 0..3_usize, out in any::<bool>(), cut in any::<usize>()) {
        let layout = layout([Format::Text, Format::Csv, Format::Binary][kind]);
        let header = if kind == 2 { BINARY } else { b"" };
        let (first, second) = bytes.split_at(cut % (bytes.len() + 1));
        let direction = if out { Direction::Out } else { IN };
        let whole = [header, &bytes[..]].concat();
        let seen = run(&layout, direction, &[&whole]);
        assert_eq!(seen, run(&layout, direction, &[header, first, second]));
    }
}
