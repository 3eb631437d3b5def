//! Every case of `testdata/*.txt`, whose outcomes `record.sh` recorded from a PostgreSQL server.

use super::{Settings, from_binary, from_text, to_binary, to_text};
use crate::policy::{LogicalType, Purpose};

struct Case {
    logical: LogicalType,
    settings: Settings,
    line: String,
    input: Vec<u8>,
    /// What the server shows, and its send form; or the SQLSTATE.
    expected: Result<(Vec<u8>, Vec<u8>), String>,
}

fn cases(file: &str) -> Vec<Case> {
    file.lines()
        .map(|line| {
            let [logical, date_style, time_zone, input, shown, sent, state] =
                *line.split('\t').collect::<Vec<_>>()
            else {
                panic!("not seven columns: {line}")
            };
            let logical = match logical {
                "character varying" => LogicalType::Varchar(None),
                other => LogicalType::parse(other).unwrap(),
            };
            let mut settings = Settings::default();
            let (date_style, interval_style) = date_style.split_once(';').unwrap_or((date_style, "postgres"));
            settings.set("DateStyle", date_style);
            settings.set("IntervalStyle", interval_style);
            settings.set("TimeZone", time_zone);
            let expected = match state {
                "\\N" => Ok((unescape(shown), unhex(sent))),
                state => Err(state.to_owned()),
            };
            Case { logical, settings, line: line.to_owned(), input: unescape(input), expected }
        })
        .collect()
}

/// Undoes the escapes of COPY's text format.
fn unescape(field: &str) -> Vec<u8> {
    let mut bytes = field.bytes();
    let mut out = Vec::new();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'\\' => match bytes.next().unwrap() {
                b'b' => 8,
                b't' => b'\t',
                b'n' => b'\n',
                b'v' => 11,
                b'f' => 12,
                b'r' => b'\r',
                other => other,
            },
            byte => byte,
        });
    }
    out
}

fn unhex(field: &str) -> Vec<u8> {
    (0..field.len()).step_by(2).map(|i| u8::from_str_radix(&field[i..i + 2], 16).unwrap()).collect()
}

fn check(file: &str) {
    let mut wrong = Vec::new();
    for case in cases(file) {
        let mut canonical = Vec::new();
        let read = from_text(&case.logical, &case.input, Purpose::Assign, &case.settings, &mut canonical);
        let outcome = read.map_err(|e| e.sqlstate.to_owned()).and_then(|()| {
            let mut shown = Vec::new();
            to_text(&case.logical, &canonical, &case.settings, &mut shown)
                .map_err(|e| format!("{} when shown", e.sqlstate))?;
            let mut sent = Vec::new();
            to_binary(&case.logical, &canonical, &mut sent).unwrap();
            let mut received = Vec::new();
            from_binary(&case.logical, 0, &sent, Purpose::Assign, &case.settings, &mut received).unwrap();
            assert_eq!(received, canonical, "{}", case.line);
            Ok((shown, sent))
        });
        if outcome != case.expected {
            let outcome = outcome.map(|(shown, _)| String::from_utf8(shown).unwrap());
            wrong.push(format!("{} => {outcome:?}", case.line));
        }
    }
    assert!(wrong.is_empty(), "{} differ from PostgreSQL:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn integers() {
    check(include_str!("testdata/integer.txt"));
}

#[test]
fn booleans() {
    check(include_str!("testdata/boolean.txt"));
}

#[test]
fn uuids() {
    check(include_str!("testdata/uuid.txt"));
}

#[test]
fn byte_strings() {
    check(include_str!("testdata/bytea.txt"));
}

#[test]
fn strings() {
    check(include_str!("testdata/string.txt"));
}

#[test]
fn numerics() {
    check(include_str!("testdata/numeric.txt"));
}

#[test]
fn json() {
    check(include_str!("testdata/jsonb.txt"));
}

#[test]
fn dates() {
    check(include_str!("testdata/date.txt"));
}

#[test]
fn timestamps() {
    check(include_str!("testdata/timestamptz.txt"));
}

#[test]
fn zones_and_styles() {
    check(include_str!("testdata/zones.txt"));
}

#[test]
fn floats() {
    check(include_str!("testdata/float.txt"));
}

#[test]
fn padded_strings() {
    check(include_str!("testdata/char.txt"));
}

#[test]
fn times() {
    check(include_str!("testdata/time.txt"));
}

#[test]
fn local_and_rounded_timestamps() {
    check(include_str!("testdata/timestamp.txt"));
}

#[test]
fn intervals() {
    check(include_str!("testdata/interval.txt"));
}

#[test]
fn networks() {
    check(include_str!("testdata/network.txt"));
}

#[test]
fn mac_addresses() {
    check(include_str!("testdata/macaddr.txt"));
}

#[test]
fn plain_json() {
    check(include_str!("testdata/json.txt"));
}

#[test]
fn numerics_of_any_scale() {
    check(include_str!("testdata/numeric_any.txt"));
}

#[test]
fn arrays() {
    check(include_str!("testdata/array.txt"));
}

/// Forms other than ISO are refused, whatever PostgreSQL makes of them: never stored differently.
#[test]
fn other_forms_of_dates() {
    for case in cases(include_str!("testdata/datetime_other.txt")) {
        let refused = from_text(&case.logical, &case.input, Purpose::Assign, &case.settings, &mut Vec::new())
            .expect_err(&case.line);
        if case.expected.is_ok() {
            assert_eq!(refused.sqlstate, "0A000", "{}", case.line);
        }
    }
}
