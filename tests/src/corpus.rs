//! The corpus of statements: one line per case, in the files of `tests/corpus/statements`, of which
//! `queries.txt` says how to read them, and `tests/corpus/sessions`.

use crate::leak::Marker;
use crate::programs::source;
use crate::{Error, Result};
use std::fs;

/// How a statement is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// As a Query message.
    Simple,
    /// As Parse, Bind, Execute with results in text.
    ExtendedText,
    /// The same with results in binary.
    ExtendedBinary,
}

/// What must come of a statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expected {
    /// What PostgreSQL answers without a proxy; with the number of rows where it is given.
    Same(Option<usize>),
    /// An error with this SQLSTATE.
    Error(String),
}

/// One line of the corpus.
pub struct Case {
    /// Its file and line.
    pub place: String,
    /// The ways in which it is sent.
    pub protocols: &'static [Protocol],
    /// What must come of it.
    pub expected: Expected,
    /// The statement, with its markers in place.
    pub statement: String,
    /// Its parameters in text form.
    pub parameters: Vec<Option<String>>,
    /// The values that may not be seen beyond the proxy.
    pub markers: Vec<Marker>,
}

/// Reads the statements of the corpus.
pub fn statements() -> Result<Vec<Case>> {
    let mut cases = Vec::new();
    for (file, text) in files("statements")? {
        cases.extend(read(&file, &text, FIRST_STATEMENT + cases.len())?);
    }
    Ok(cases)
}

/// Reads the sessions of the corpus: blocks of cases that belong together, separated by blank lines.
pub fn sessions() -> Result<Vec<Vec<Case>>> {
    let mut sessions = Vec::new();
    let mut number = FIRST_SESSION;
    for (file, text) in files("sessions")? {
        let mut session = Vec::new();
        let mut first = number;
        for (line, text) in text.lines().chain([""]).enumerate() {
            match text {
                "" => {
                    sessions.push(std::mem::take(&mut session));
                    first = number;
                }
                text if text.starts_with('#') => {}
                text => {
                    let place = format!("{file}:{}", line + 1);
                    let case = case(&place, text, number, first).filter(|case| case.protocols.len() < 3);
                    session.push(case.ok_or_else(|| Error::new(place))?);
                    number += 1;
                }
            }
        }
    }
    sessions.retain(|session| !session.is_empty());
    Ok(sessions)
}

/// Numbers of cases, of which their markers are made: no two cases share one.
const FIRST_STATEMENT: usize = 1;
const FIRST_SESSION: usize = 5001;

/// The files of one folder of the corpus with their texts, by name.
fn files(folder: &str) -> Result<Vec<(String, String)>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(source().join("tests/corpus").join(folder))? {
        let entry = entry?;
        let name = format!("{folder}/{}", entry.file_name().to_string_lossy());
        files.push((name, fs::read_to_string(entry.path())?));
    }
    files.sort();
    Ok(files)
}

fn read(file: &str, text: &str, first: usize) -> Result<Vec<Case>> {
    let lines = text.lines().enumerate().filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    lines
        .enumerate()
        .map(|(index, (line, text))| {
            let place = format!("{file}:{}", line + 1);
            case(&place, text, first + index, first + index).ok_or_else(|| Error::new(place))
        })
        .collect()
}

fn case(place: &str, text: &str, number: usize, session: usize) -> Option<Case> {
    let mut fields = text.split(" | ");
    let protocols: &[Protocol] = match fields.next()?.trim() {
        "both" => &[Protocol::Simple, Protocol::ExtendedText, Protocol::ExtendedBinary],
        "simple" => &[Protocol::Simple],
        "extended" => &[Protocol::ExtendedText, Protocol::ExtendedBinary],
        _ => return None,
    };
    let expected = fields.next()?.trim();
    let expected = match expected.strip_prefix('=') {
        Some("") => Expected::Same(None),
        Some(count) => Expected::Same(Some(count.parse().ok()?)),
        None if expected.len() == 5 => Expected::Error(expected.to_owned()),
        None => return None,
    };
    let values = Values::of(number, session);
    let statement = values.fill(fields.next()?.trim());
    let parameters = fields
        .map(|field| Some(field.trim()).filter(|field| *field != "NULL").map(|field| values.fill(field)))
        .collect();
    let markers = values.markers(text);
    Some(Case { place: place.to_owned(), protocols, expected, statement, parameters, markers })
}

/// The marker values of one case: unlike those of any other, and unlike anything else.
struct Values {
    text: String,
    /// The same in all cases of a session.
    session: String,
    free: String,
    integer: i32,
    uuid: [u8; 16],
    days: i32,
    numeric: String,
}

impl Values {
    fn of(case: usize, session: usize) -> Self {
        let number = i32::try_from(case).unwrap_or(0);
        let [.., high, low] = number.to_be_bytes();
        Self {
            text: format!("MK{case:04}QZ"),
            session: format!("MS{session:04}QZ"),
            free: format!("FREE{case:04}"),
            integer: 1_370_000_000 + number * 7919,
            uuid: [
                0x7e, 0x57, 0xab, 0x1e, 0x5a, 0x5a, 0x4c, 0x1d, 0x8e, 0x3f, 0x91, 0x02, 0x77, high, low, 0x66,
            ],
            days: number,
            numeric: format!("8{case:05}71.37"),
        }
    }

    fn uuid_text(&self) -> String {
        let hex = hex(&self.uuid);
        let parts = [0..8, 8..12, 12..16, 16..20, 20..32].map(|range| hex.get(range).unwrap_or_default());
        parts.join("-")
    }

    /// A day of the years 2300 to 2310: 28 days to a month, so that every one exists.
    fn date_text(&self) -> String {
        let (months, day) = (self.days / 28, self.days % 28 + 1);
        format!("{:04}-{:02}-{day:02}", 2300 + months / 12, months % 12 + 1)
    }

    fn fill(&self, text: &str) -> String {
        text.replace("{t}", &self.text)
            .replace("{s}", &self.session)
            .replace("{f}", &self.free)
            .replace("{i}", &self.integer.to_string())
            .replace("{u}", &self.uuid_text())
            .replace("{d}", &self.date_text())
            .replace("{n}", &self.numeric)
            .replace("{x}", &hex(self.text.as_bytes()))
    }

    fn markers(&self, text: &str) -> Vec<Marker> {
        let mut markers = Vec::new();
        if text.contains("{t}") || text.contains("{x}") {
            markers.push(Marker::text(&self.text));
        }
        if text.contains("{s}") {
            markers.push(Marker::text(&self.session));
        }
        if text.contains("{i}") {
            let mut marker = Marker::text(&self.integer.to_string());
            // With its length before it, as in a Bind: four bytes alone turn up by chance.
            marker.add("int4", &[&4_i32.to_be_bytes()[..], &self.integer.to_be_bytes()].concat());
            marker.add("int8", &i64::from(self.integer).to_be_bytes());
            markers.push(marker);
        }
        if text.contains("{u}") {
            let mut marker = Marker::text(&self.uuid_text());
            marker.add("16 bytes", &self.uuid);
            markers.push(marker);
        }
        if text.contains("{d}") {
            markers.push(Marker::text(&self.date_text()));
        }
        if text.contains("{n}") {
            markers.push(Marker::text(&self.numeric));
        }
        markers
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_becomes_a_case() {
        let cases = read(
            "f",
            "# c\n\nextended | =1 | SELECT $1, a || b | {t} | NULL\nboth | 0A000 | SELECT {i}\n",
            3,
        )
        .unwrap();
        let [first, second] = &cases[..] else { panic!("{}", cases.len()) };
        assert_eq!((first.statement.as_str(), second.place.as_str()), ("SELECT $1, a || b", "f:4"));
        assert_eq!(first.parameters, [Some("MK0003QZ".to_owned()), None]);
        assert_eq!((first.expected.clone(), first.markers.len()), (Expected::Same(Some(1)), 1));
        assert_eq!(
            (second.protocols.len(), second.expected.clone()),
            (3, Expected::Error("0A000".to_owned()))
        );
    }

    #[test]
    fn a_line_that_cannot_be_read_is_an_error() {
        assert!(read("f", "both | what | SELECT 1", 1).is_err());
        assert!(read("f", "neither | = | SELECT 1", 1).is_err());
    }
}
