//! The client's half: messages with statements of the corpus, and others.

use super::super::corpus::{CASES, Case, MARKER};
use super::super::tenant::TENANT;
use super::Input;
use std::sync::LazyLock;
use trefoil_keys::carrier::message::KeyMessage;
use trefoil_proxy::wire::{Malformed, frontend, writer};

/// The settings that carry shares.
pub const CARRIERS: [&str; 3] = trefoil_keys::carrier::SETTINGS;

/// Statements beside the corpus's: what opens and ends transactions, and what changes names and settings.
const MORE: [&str; 30] = [
    "BEGIN",
    "COMMIT",
    "ROLLBACK",
    "SAVEPOINT a",
    "ROLLBACK TO a",
    "SELECT 1",
    "INSERT INTO wards VALUES (9, 'x', 1)",
    "COPY wards FROM STDIN",
    "COPY patients (id, ssn) FROM STDIN",
    "COPY patients (ssn, name) FROM STDIN WITH CSV",
    "COPY patients (id, ssn) FROM STDIN (FORMAT binary)",
    "PREPARE s1 AS INSERT INTO patients (id, ssn) VALUES (7, $1)",
    "PREPARE s1 (text) AS INSERT INTO wards (id, name) VALUES (7, $1)",
    "EXECUTE s1('MARKER-7f3a')",
    "DEALLOCATE s1",
    "DEALLOCATE ALL",
    "DISCARD ALL",
    "DECLARE p1 CURSOR FOR SELECT ssn FROM patients WHERE ssn = 'MARKER-7f3a'",
    "FETCH ALL FROM p1",
    "CLOSE p1",
    "SET standard_conforming_strings = off",
    "SET standard_conforming_strings = on",
    "SET search_path = tenant_a",
    "INSERT INTO accounts VALUES (9, 'MARKER-7f3a')",
    "CREATE TABLE made (secret text, plain text)",
    "INSERT INTO made (secret) VALUES ('MARKER-7f3a')",
    "DROP TABLE made",
    "INSERT INTO visits (id, patient_ssn) VALUES (8, $1)",
    "INSERT INTO wards (id, name) VALUES (8, $1)",
    "INSERT INTO patients (id, ssn) VALUES (7, E'MARKER-7f3a\\'')",
];

/// All statements, those above first.
pub static STATEMENTS: LazyLock<Vec<Case>> = LazyLock::new(|| {
    let more = MORE.iter().map(|text| {
        let parameters = if text.contains("$1") { vec![Some(MARKER.to_owned())] } else { Vec::new() };
        Case { text: (*text).to_owned(), parameters }
    });
    let others =
        CASES.iter().map(|case| Case { text: case.text.clone(), parameters: case.parameters.clone() });
    more.chain(others).collect()
});

/// A statement's number, as it stands in a comment behind it.
pub const NUMBER: &str = "\n--n=";

/// A client.
pub struct Client {
    extension: bool,
    /// What it has said and what has not arrived.
    pub said: Vec<u8>,
    /// It has kept to the form of messages: so the proxy and it agree where each begins.
    pub framed: bool,
}

impl Client {
    pub fn new(extension: bool) -> Self {
        Self { extension, said: Vec::new(), framed: true }
    }

    /// Says something.
    pub fn says(&mut self, step: u8, input: &mut Input<'_>) {
        // Nothing in them is too long.
        let _ = match step {
            0 | 1 => {
                let (number, case) = statement(input);
                frontend::query(&mut self.said, format!("{}{NUMBER}{number}", case.text).as_bytes())
            }
            2 | 3 => {
                let name = name(input, b's');
                let (number, case) = statement(input);
                let declared = match input.byte() & 3 {
                    0 | 1 => Vec::new(),
                    2 => vec![25; case.parameters.len()],
                    _ => vec![u32::from(input.byte()); usize::from(input.byte() & 3)],
                };
                let text = format!("{}{NUMBER}{number}", case.text);
                frontend::parse(&mut self.said, &name, text.as_bytes(), declared.into_iter())
            }
            4 | 5 => self.binds(input),
            6 | 8 => {
                let target = if input.byte() & 1 == 0 { b'S' } else { b'P' };
                let name = name(input, if target == b'S' { b's' } else { b'p' });
                writer::message(&mut self.said, if step == 6 { b'D' } else { b'C' }, |out| {
                    out.push(target);
                    writer::string(out, &name);
                    Ok::<(), Malformed>(())
                })
            }
            7 | 15 => {
                let portal = name(input, b'p');
                writer::message(&mut self.said, b'E', |out| {
                    writer::string(out, &portal);
                    out.extend_from_slice(&[0; 4]);
                    Ok::<(), Malformed>(())
                })
            }
            9 | 16 => self.says_bare(b'S'),
            10 => self.says_bare(b'H'),
            11 | 17 => self.copies(input),
            12 | 18 if input.byte() & 1 == 0 => self.says_bare(b'c'),
            12 | 18 => frontend::copy_fail(&mut self.said),
            13 => self.presents(input),
            14 => writer::message(&mut self.said, b'F', |out| {
                out.extend_from_slice(MARKER.as_bytes());
                Ok::<(), Malformed>(())
            }),
            _ => {
                self.framed = false;
                let count = usize::from(input.byte());
                self.said.extend_from_slice(input.bytes(count));
                Ok(())
            }
        };
    }

    fn says_bare(&mut self, tag: u8) -> Result<(), Malformed> {
        writer::message(&mut self.said, tag, |_| Ok(()))
    }

    fn binds(&mut self, input: &mut Input<'_>) -> Result<(), Malformed> {
        let (portal, statement_name) = (name(input, b'p'), name(input, b's'));
        let (_, case) = statement(input);
        let formats = input.byte();
        writer::message(&mut self.said, b'B', |out| {
            writer::string(out, &portal);
            writer::string(out, &statement_name);
            match formats & 3 {
                0 | 1 => out.extend_from_slice(&[0, 0]),
                2 => out.extend_from_slice(&[0, 1, 0, 1]),
                _ => out.extend_from_slice(&[0, 2, 0, 1, 0, 0]),
            }
            writer::count(out, case.parameters.len(), "parameters")?;
            for parameter in &case.parameters {
                writer::value(out, parameter.as_ref().map(String::as_bytes))?;
            }
            match formats & 4 {
                0 => out.extend_from_slice(&[0, 0]),
                _ => out.extend_from_slice(&[0, 1, 0, 1]),
            }
            Ok(())
        })
    }

    /// Rows, cut anywhere.
    fn copies(&mut self, input: &mut Input<'_>) -> Result<(), Malformed> {
        const ROWS: [&[u8]; 6] = [
            b"1\tMARKER-7f3a\n2\tMARKER-7f3a\n",
            b"MARKER-7f3a,\"MARKER-7f3a\"\n",
            b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0\0\x02\0\0\0\x04\0\0\0\x01\0\0\0\x0bMARKER-7f3a\xff\xff",
            b"1\tMARK",
            b"ER-7f3a\n",
            b"\\.\nMARKER-7f3a",
        ];
        let rows = ROWS.get(usize::from(input.byte()) % ROWS.len()).copied().unwrap_or_default();
        let end = rows.len().min(usize::from(input.byte() | 0xc0));
        writer::message(&mut self.said, b'd', |out| {
            out.extend_from_slice(rows.get(..end).unwrap_or_default());
            Ok(())
        })
    }

    fn presents(&mut self, input: &mut Input<'_>) -> Result<(), Malformed> {
        let [user, envelope, app_share] = &TENANT.carriers;
        let how = input.byte();
        let message = KeyMessage {
            user: if how & 1 == 0 { user } else { "bob" },
            envelope: if how & 2 == 0 { envelope } else { "" },
            app_share: if how & 4 == 0 { app_share } else { "" },
        };
        // Without the extension, a K is no message.
        self.framed &= self.extension;
        message.encode(&mut self.said).map_err(|_| Malformed::TooLong)
    }
}

fn statement(input: &mut Input<'_>) -> (usize, &'static Case) {
    let number = (usize::from(input.byte()) | usize::from(input.byte()) << 8) % STATEMENTS.len();
    (number, &STATEMENTS[number])
}

/// One of a few names, the empty one among them.
fn name(input: &mut Input<'_>, kind: u8) -> Vec<u8> {
    match input.byte() & 3 {
        0 => Vec::new(),
        number => vec![kind, b'0' + number],
    }
}
