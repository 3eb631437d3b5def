//! Two servers' answers to one statement, and what differs between them.

use crate::frontend::{Frame, sqlstate};

/// A difference.
#[derive(Clone, Debug)]
pub struct Difference {
    /// In which respect, with codes and the beginnings of messages but no values: two failures of the
    /// same cause have it in common.
    pub respect: String,
    /// What one side said.
    pub plain: String,
    /// What the other said.
    pub protected: String,
}

/// A column of a RowDescription, without the OID of its table.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Column {
    name: Vec<u8>,
    of_table: bool,
    /// Attribute number, type, size, modifier, format.
    numbers: Vec<u8>,
}

/// What differs, if anything does; `ordered` says that the order of rows matters.
pub fn difference(plain: &[Frame], protected: &[Frame], ordered: bool) -> Option<Difference> {
    let found = |respect: String| {
        let (plain, protected) = (show(plain), show(protected));
        Some(Difference { respect, plain, protected })
    };
    let (expected, seen) = (sqlstate(plain), sqlstate(protected));
    // In a transaction that has failed, the proxy leaves it to the server to say so, before it looks
    // for mistakes.
    let failed = seen.as_deref() == Some("25P02") && expected.as_deref() == Some("42601");
    if failed {
        return None;
    }
    if expected != seen {
        return found(match (&expected, &seen) {
            (expected, Some(seen)) => {
                let said = message(protected).chars().take(24).collect::<String>();
                format!("{} became {seen} {said}", expected.as_deref().unwrap_or("success"))
            }
            (expected, None) => format!("{} became success", expected.as_deref().unwrap_or_default()),
        });
    }
    if expected.is_some_and(|code| !names_values(&code)) && message(plain) != message(protected) {
        return found("the error's message".to_owned());
    }
    let (plain_tags, protected_tags) = (tags(plain), tags(protected));
    if plain_tags != protected_tags {
        return found("the sequence of messages".to_owned());
    }
    let relevant = |frames: &[Frame]| {
        let kept = frames.iter().filter(|frame| plain_tags.contains(&frame.tag) && !passing(frame));
        kept.cloned().collect::<Vec<_>>()
    };
    let (mut plain_frames, mut protected_frames) = (relevant(plain), relevant(protected));
    if !ordered {
        sort_rows(&mut plain_frames);
        sort_rows(&mut protected_frames);
    }
    for (plain, protected) in plain_frames.iter().zip(&protected_frames) {
        let same = match plain.tag {
            b'T' => columns(plain) == columns(protected),
            b't' => parameters(plain) == parameters(protected),
            b'E' => true,
            _ => plain == protected,
        };
        if !same {
            return found(respect(plain, protected));
        }
    }
    None
}

fn respect(plain: &Frame, protected: &Frame) -> String {
    match plain.tag {
        b'T' => {
            let (plain, protected) = (columns(plain), columns(protected));
            let pairs = plain.iter().zip(&protected);
            let part = pairs.filter(|(a, b)| a != b).map(|(a, b)| {
                if a.name != b.name {
                    "name"
                } else if a.of_table != b.of_table || a.numbers.get(..2) != b.numbers.get(..2) {
                    "origin"
                } else if a.numbers.get(2..8) != b.numbers.get(2..8) {
                    "type"
                } else if a.numbers.get(8..12) != b.numbers.get(8..12) {
                    "type modifier"
                } else {
                    "format"
                }
            });
            format!("a column's {}", part.into_iter().next().unwrap_or("number"))
        }
        b't' => "the parameters' types".to_owned(),
        b'D' => "the rows".to_owned(),
        b'C' => "the command tag".to_owned(),
        b'Z' => "the transaction's status".to_owned(),
        b'd' => "the copied data".to_owned(),
        other => format!("message {}", char::from(other)),
    }
}

/// Errors whose messages quote the value, which the proxy does not.
fn names_values(code: &str) -> bool {
    code.starts_with("22") && code != "22012" || code.starts_with("42")
}

fn message(frames: &[Frame]) -> String {
    let error = frames.iter().find(|frame| frame.tag == b'E');
    error.and_then(|frame| frame.field(b'M')).unwrap_or_default()
}

/// Notices and parameter reports, which have no fixed place.
fn passing(frame: &Frame) -> bool {
    matches!(frame.tag, b'N' | b'S')
}

/// The types of messages; any number of rows counts as one, and an error ends what is compared.
fn tags(frames: &[Frame]) -> Vec<u8> {
    let mut tags: Vec<u8> = frames.iter().filter(|frame| !passing(frame)).map(|frame| frame.tag).collect();
    // The proxy may see a mistake in a value earlier than the server does.
    if tags.contains(&b'E') {
        tags.retain(|tag| matches!(tag, b'C' | b'E' | b'I' | b'Z'));
    }
    tags.dedup_by(|a, b| a == b && matches!(*a, b'D' | b'd'));
    tags
}

fn sort_rows(frames: &mut [Frame]) {
    for rows in frames.chunk_by_mut(|a, b| a.tag == b.tag && matches!(a.tag, b'D' | b'd')) {
        rows.sort_by(|a, b| a.body.cmp(&b.body));
    }
}

fn columns(frame: &Frame) -> Vec<Column> {
    let mut columns = Vec::new();
    let mut rest = frame.body.get(2..).unwrap_or_default();
    while let Some(end) = rest.iter().position(|byte| *byte == 0) {
        let (name, tail) = rest.split_at(end);
        let Some((table, tail)) = tail.get(1..).and_then(<[u8]>::split_first_chunk::<4>) else { break };
        let Some((numbers, tail)) = tail.split_at_checked(14) else { break };
        columns.push(Column { name: name.to_vec(), of_table: *table != [0; 4], numbers: numbers.to_vec() });
        rest = tail;
    }
    columns
}

/// The types of parameters; `text` where it is `varchar` and `inet` where it is `cidr`, since a
/// parameter beside a column is described as the column, not as what the operator takes.
fn parameters(frame: &Frame) -> Vec<u32> {
    let oids = frame.body.get(2..).unwrap_or_default().chunks_exact(4);
    let oid = |bytes: &[u8]| bytes.try_into().map(u32::from_be_bytes).unwrap_or_default();
    let wider = |oid| match oid {
        1043 => 25,
        650 => 869,
        other => other,
    };
    oids.map(oid).map(wider).collect()
}

/// The types that a ParameterDescription gives.
pub fn parameter_types(frames: &[Frame]) -> Vec<u32> {
    let described = frames.iter().find(|frame| frame.tag == b't');
    described.map(parameters).unwrap_or_default()
}

/// For people: rows as text, everything in few lines.
pub fn show(frames: &[Frame]) -> String {
    let mut lines: Vec<String> = Vec::new();
    for frame in frames {
        lines.push(match frame.tag {
            b'1' | b'2' | b'3' | b'n' | b'Z' | b'N' | b'S' => continue,
            b'T' => {
                let show = |column: Column| {
                    let number = |range| column.numbers.get(range).unwrap_or_default();
                    format!(
                        "{} (attribute {} of a table: {}, type {}, modifier {}, format {})",
                        String::from_utf8_lossy(&column.name),
                        integer(number(0..2)),
                        column.of_table,
                        integer(number(2..6)),
                        integer(number(8..12)),
                        integer(number(12..14)),
                    )
                };
                format!("columns {}", columns(frame).into_iter().map(show).collect::<Vec<_>>().join(", "))
            }
            b't' => format!("parameters of types {:?}", parameters(frame)),
            b'D' => {
                let columns = frame.columns().into_iter().map(|column| match column {
                    Some(bytes) => bytes.escape_ascii().to_string(),
                    None => "NULL".to_owned(),
                });
                format!("row {}", columns.collect::<Vec<_>>().join(" | "))
            }
            b'C' => String::from_utf8_lossy(&frame.body).trim_end_matches('\0').to_owned(),
            b'E' => {
                let field = |code| frame.field(code).unwrap_or_default();
                format!("ERROR {}: {} {} {}", field(b'C'), field(b'M'), field(b'D'), field(b'H'))
            }
            _ => format!("{frame:?}"),
        });
    }
    if lines.len() > 24 {
        let more = lines.len() - 24;
        lines.truncate(24);
        lines.push(format!("and {more} lines more"));
    }
    let short = |line: String| match line.char_indices().nth(400) {
        Some((end, _)) => format!("{} …", line.get(..end).unwrap_or_default()),
        None => line,
    };
    lines.into_iter().map(short).collect::<Vec<_>>().join("\n")
}

fn integer(bytes: &[u8]) -> i64 {
    let negative = bytes.first().is_some_and(|byte| *byte >= 0x80);
    let value = bytes.iter().fold(0, |value, byte| value << 8 | i64::from(*byte));
    if negative { value - (1 << (8 * bytes.len())) } else { value }
}
