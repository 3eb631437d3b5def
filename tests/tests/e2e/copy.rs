//! COPY of protected tables, in and out, compared with a PostgreSQL without a proxy; and what of its
//! data is seen beyond the proxy.

use crate::shared::{Database, clinic, create_schema, database, shared};
use bytes::BytesMut;
use postgres_protocol::message::frontend;
use std::io::Write;
use trefoil_tests::frontend::{Frame, Frontend, bind, sqlstate};
use trefoil_tests::leak::{Marker, Search};

/// The same table with and without protection.
struct Pair {
    plain: Frontend,
    proxied: Frontend,
    _databases: [Database; 2],
}

fn pair() -> Pair {
    let (direct, protected) = (database(), clinic());
    create_schema(&direct.direct);
    Pair {
        plain: Frontend::connect(&direct.direct, &[]).unwrap(),
        proxied: Frontend::connect(&protected.alice, &[]).unwrap(),
        _databases: [direct, protected],
    }
}

/// All messages up to ReadyForQuery; `send` is done when data is asked for.
fn until_ready(client: &mut Frontend, mut send: impl FnMut(&mut Frontend)) -> Vec<Frame> {
    let mut frames: Vec<Frame> = Vec::new();
    while frames.last().is_none_or(|frame| frame.tag != b'Z') {
        frames.push(client.read().unwrap_or_else(|error| panic!("{error} after {frames:?}")));
        if frames.last().is_some_and(|frame| frame.tag == b'G') {
            send(client);
        }
    }
    frames.retain(|frame| !matches!(frame.tag, b'N' | b'S'));
    frames
}

fn data(pieces: &[&[u8]], buffer: &mut BytesMut) {
    for piece in pieces {
        frontend::CopyData::new(*piece).unwrap().write(buffer);
    }
}

fn copy_in(client: &mut Frontend, statement: &str, pieces: &[&[u8]], extended: bool) -> Vec<Frame> {
    client
        .send(|buffer| {
            if !extended {
                return Ok(frontend::query(statement, buffer)?);
            }
            frontend::parse("", statement, [], buffer)?;
            bind("", "", &[], false, false, buffer)?;
            frontend::describe(b'P', "", buffer)?;
            frontend::execute("", 0, buffer)?;
            frontend::sync(buffer);
            Ok::<_, trefoil_tests::Error>(())
        })
        .unwrap();
    until_ready(client, |client| {
        let mut buffer = BytesMut::new();
        data(pieces, &mut buffer);
        frontend::copy_done(&mut buffer);
        if extended {
            frontend::sync(&mut buffer);
        }
        client.send_bytes(&buffer).unwrap();
    })
}

/// What must be the same: of an error the SQLSTATE, of anything else all.
fn shown(frames: &[Frame]) -> Vec<String> {
    let show = |frame: &Frame| match frame.tag {
        b'E' => format!("E {}", frame.field(b'C').unwrap()),
        b'T' => {
            let mut frame = frame.clone();
            frame.hide_own_oids();
            format!("{frame:?}")
        }
        _ => format!("{frame:?}"),
    };
    frames.iter().map(show).collect()
}

impl Pair {
    /// Copies in on both sides, the data cut in several ways, each undone but the last.
    #[track_caller]
    fn copies(&mut self, statement: &str, input: &[u8]) -> Vec<Frame> {
        for extended in [true, false] {
            for size in [1, 7, input.len().max(1)] {
                let pieces: Vec<&[u8]> = input.chunks(size).collect();
                let begin = if extended || size < input.len() { "BEGIN" } else { "" };
                let run = |client: &mut Frontend| {
                    client.query(begin).unwrap();
                    let mut frames = copy_in(client, statement, &pieces, extended);
                    let rows = "SELECT * FROM patients ORDER BY id";
                    frames.extend(client.query(rows).unwrap().into_iter().filter(|frame| frame.tag != b'T'));
                    if !begin.is_empty() {
                        client.query("ROLLBACK").unwrap();
                    }
                    frames
                };
                let expected = run(&mut self.plain);
                let seen = run(&mut self.proxied);
                assert_eq!(shown(&seen), shown(&expected), "{statement} extended {extended} by {size}");
                if size >= input.len() && !extended {
                    return seen;
                }
            }
        }
        unreachable!()
    }

    #[track_caller]
    fn same(&mut self, statement: &str) -> Vec<Frame> {
        let expected = until_ready_of(&mut self.plain, statement);
        let seen = until_ready_of(&mut self.proxied, statement);
        assert_eq!(shown(&seen), shown(&expected), "{statement}");
        seen
    }
}

fn until_ready_of(client: &mut Frontend, statement: &str) -> Vec<Frame> {
    client.send(|buffer| frontend::query(statement, buffer)).unwrap();
    until_ready(client, |_| ())
}

const COLUMNS: &str = "(id, ssn, name, mrn, born, seen, visits, balance, insured, token, photo, notes)";

#[test]
fn text_csv_and_binary_go_in_and_out_as_without_a_proxy() {
    let mut pair = pair();
    let text = "60\ts60\ta\\tb\\\\c\\nd\\101\\x42\tM60\t2001-02-03\t2001-02-03 04:05:06+01\t-7\t1.5\tt\t\
                bbbbbbbb-0000-4000-8000-000000000060\t\\\\x0001ff\t{\"a\": [1, null]}\n\
                61\t\\\\N\t\t\\N\t\\N\t\\N\t\\N\t\\N\t\\N\t\\N\t\\N\t\\N\n";
    let frames = pair.copies(&format!("COPY patients {COLUMNS} FROM STDIN"), text.as_bytes());
    assert_eq!(sqlstate(&frames), None);
    assert!(frames.iter().any(|frame| frame.tag == b'C' && frame.body == b"COPY 2\0"));
    let whole = "62\t1\tn\ts62\tm\t\\N\t\\N\t1\t2\t3\tt\t\\N\t0\t\t\"x\"\r\n";
    pair.copies("COPY patients FROM STDIN", whole.as_bytes());
    let odd = "63|s|63|\n64|NULL|\\\\|\n65|NULLx|\\||\n";
    pair.copies("COPY patients (id, ssn, name, mrn) FROM STDIN (DELIMITER '|', NULL 'NULL')", odd.as_bytes());
    let odd = "64|NULL|\\\\|\n65|NULLx|\\||\n\\.\n";
    pair.copies("COPY patients (id, ssn, name, mrn) FROM STDIN (DELIMITER '|', NULL 'NULL')", odd.as_bytes());
    let csv = "id,ssn,name\n66,\"a,\"\"b\"\"\nc\",\n67,,\"\"\n68,\\.,  spaced  \n";
    pair.copies("COPY patients (id, ssn, name) FROM STDIN WITH CSV HEADER", csv.as_bytes());
    pair.copies(
        "COPY patients (id, ssn, name) FROM STDIN (FORMAT csv, HEADER match)",
        b"id,ssn,name\r\n69,x,y\r\n",
    );
    pair.copies(
        "COPY patients (id, ssn, name) FROM STDIN (FORMAT csv, HEADER match)",
        b"id,name,ssn\n70,x,y\n",
    );
    let odd = "71;'a\\'b\\\\c';NULL\n72;NULL;'NULL'\n73;'73';N\n";
    pair.copies(
        "COPY patients (id, ssn, name) FROM STDIN (FORMAT csv, DELIMITER ';', QUOTE '''', ESCAPE '\\', NULL 'NULL', \
         FORCE_NOT_NULL (ssn), FORCE_NULL (name))",
        odd.as_bytes(),
    );
    pair.copies(
        "COPY patients (id, ssn, name) FROM STDIN CSV DELIMITER 'x' QUOTE '1'",
        b"81xaxb\n82x1a11bx1x\n",
    );
    pair.copies("COPY patients (id, ssn) FROM STDIN WHERE id < 85", b"84\tw84\n86\tw86\n");
    pair.copies("COPY patients (id, ssn) FROM STDIN WHERE ssn <> 'w88'", b"87\tw87\n88\tw88\n");
    pair.copies("COPY \"Odd Table\" FROM STDIN CSV", b"\"a\nb\",plain\n,\n");

    for options in [
        "",
        "WITH CSV HEADER",
        "(FORMAT csv, FORCE_QUOTE *, NULL 'NULL')",
        "(FORMAT csv, FORCE_QUOTE (ssn, name), DELIMITER ';', QUOTE '''', ESCAPE '\\')",
        "(FORMAT csv, DELIMITER 'x', QUOTE '1')",
        "(DELIMITER '|', NULL 'NULL')",
        "(FORMAT binary)",
    ] {
        pair.same(&format!("COPY patients TO STDOUT {options}"));
        pair.same(&format!("COPY patients (name, id) TO STDOUT {options}"));
        pair.same(&format!(
            "COPY (SELECT name FROM patients WHERE ssn = 'a,\"b\"\nc' OR id = 68 ORDER BY id) TO STDOUT {options}"
        ));
        pair.same(&format!("COPY (SELECT count(*), ssn FROM patients GROUP BY ssn ORDER BY 1, ssn IS NULL LIMIT 0) TO STDOUT {options}"));
        pair.same(&format!("COPY (UPDATE patients SET name = 'new,name' WHERE id = 66 RETURNING id, name, ssn) TO STDOUT {options}"));
    }
    for setting in ["DateStyle = 'German'", "bytea_output = 'escape'", "TimeZone = 'America/New_York'"] {
        pair.same(&format!("SET {setting}"));
        pair.same("COPY patients TO STDOUT");
        pair.same("COPY patients TO STDOUT CSV");
    }

    pair.same("SET DateStyle = 'ISO'");

    let out = pair.same("COPY patients TO STDOUT BINARY");
    let binary: Vec<u8> =
        out.iter().filter(|frame| frame.tag == b'd').flat_map(|frame| frame.body.clone()).collect();
    pair.same("DELETE FROM patients");
    let frames = pair.copies("COPY patients FROM STDIN BINARY", &binary);
    assert_eq!(sqlstate(&frames), None);
    let out = pair.same("COPY patients TO STDOUT");
    let text: Vec<u8> =
        out.iter().filter(|frame| frame.tag == b'd').flat_map(|frame| frame.body.clone()).collect();
    pair.same("DELETE FROM patients");
    pair.copies("COPY patients FROM STDIN", &text);
}

#[test]
fn errors_leave_both_sides_alike() {
    let mut pair = pair();
    let copy = "COPY patients (id, ssn, visits) FROM STDIN";
    for (statement, input) in [
        (copy, &b"90\ta\t1\n91\tb\t2\n92\tc\tBADVALUE\n93\td\t4\n94\te\t5\n"[..]),
        (copy, b"90\ta\t1\n91\tb\n"),
        (copy, b"90\ta\t1\t2\n"),
        (copy, b"90\ta\t1\n91\ta\t2\n92\tb\t3\n"),
        (copy, b"90\ta\t1\n91\tb\t99999999999\n"),
        (copy, b"90\ta\t1\r\n91\tb\t2\n"),
        ("COPY patients (id, ssn, visits) FROM STDIN CSV", b"90,\"a\n"),
        ("COPY patients (id, mrn) FROM STDIN", b"90\tlonger than twelve\n"),
        ("COPY patients (id, visits) FROM STDIN BINARY", b"no signature at all"),
    ] {
        let frames = pair.copies(statement, input);
        assert!(sqlstate(&frames).is_some(), "{statement} {}", input.escape_ascii());
    }
    // The client gives up, in a transaction.
    for client in [&mut pair.plain, &mut pair.proxied] {
        client.query("BEGIN").unwrap();
        client.send(|buffer| frontend::query(copy, buffer)).unwrap();
        let frames = until_ready(client, |client| {
            client
                .send(|buffer| {
                    data(&[b"90\ta\t1\n91\tGIVENUP"], buffer);
                    frontend::copy_fail("because of GIVENUP", buffer)
                })
                .unwrap();
        });
        assert_eq!(sqlstate(&frames).as_deref(), Some("57014"));
        assert_eq!(client.status, b'E');
        client.query("ROLLBACK").unwrap();
        assert_eq!(client.status, b'I');
    }
    pair.same("SELECT id, ssn FROM patients ORDER BY id");
    assert_nothing_seen(&["GIVENUP", "BADVALUE"], false);
}

#[test]
fn data_that_comes_before_it_is_asked_for() {
    let mut pair = pair();
    let mut pipeline = BytesMut::new();
    frontend::query("COPY patients (id, ssn) FROM STDIN", &mut pipeline).unwrap();
    data(&[b"95\tEARLY95\n96\tEAR", b"LY96\n"], &mut pipeline);
    frontend::copy_done(&mut pipeline);
    frontend::query("SELECT ssn FROM patients WHERE id >= 95 ORDER BY id", &mut pipeline).unwrap();
    frontend::query("COPY nowhere (id, ssn) FROM STDIN", &mut pipeline).unwrap();
    data(&[b"97\tEARLY97\n"], &mut pipeline);
    frontend::copy_done(&mut pipeline);
    frontend::query("COPY patients (id, ssn) FROM STDIN (ON_ERROR 'ignore')", &mut pipeline).unwrap();
    data(&[b"98\tEARLY98\n"], &mut pipeline);
    frontend::copy_done(&mut pipeline);
    // None is asked for at all.
    data(&[b"99\tEARLY99\n"], &mut pipeline);
    frontend::query("COPY wards FROM STDIN; COPY visits FROM STDIN", &mut pipeline).unwrap();
    data(&[b"95\tplain\t1\n"], &mut pipeline);
    frontend::copy_done(&mut pipeline);
    data(&[b"95\tEARLY00\tr\t1\n"], &mut pipeline);
    frontend::copy_done(&mut pipeline);
    frontend::query("SELECT patient_ssn FROM visits WHERE id = 95", &mut pipeline).unwrap();
    let run = |client: &mut Frontend| {
        client.send_bytes(&pipeline).unwrap();
        (0..6).flat_map(|_| until_ready(client, |_| ())).filter(|frame| frame.tag != b'T').collect::<Vec<_>>()
    };
    let expected: Vec<_> =
        shown(&run(&mut pair.plain)).into_iter().filter(|frame| !frame.starts_with('E')).collect();
    let seen: Vec<_> =
        shown(&run(&mut pair.proxied)).into_iter().filter(|frame| !frame.starts_with('E')).collect();
    assert_eq!(seen, expected);
    assert_nothing_seen(&["EARLY95", "EARLY96", "EARLY97", "EARLY98", "EARLY99", "EARLY00"], false);
}

#[test]
fn what_cannot_be_copied_is_refused_and_its_data_goes_nowhere() {
    let database = clinic();
    let mut client = Frontend::connect(&database.alice, &[]).unwrap();
    for (statement, code) in [
        ("COPY patients TO '/tmp/SEENMARK'", "0A000"),
        ("COPY patients FROM PROGRAM 'echo SEENMARK'", "0A000"),
        ("COPY patients (id, ssn) FROM STDIN (ENCODING 'LATIN1')", "0A000"),
        ("COPY patients (id, ssn) FROM STDIN (DELIMITER 'too long')", "0A000"),
        ("COPY patients (id, nowhere) FROM STDIN", "42703"),
    ] {
        assert_eq!(sqlstate(&copy_in(&mut client, statement, &[], false)).as_deref(), Some(code));
    }
    for input in [
        &b"1\tSEENMARK1\n"[..],
        b"100\tSEENMARK1\tmore\n",
        b"100\tSEENMARK1\n\\.\nSEENMARK2\n",
        b"x\tSEENMARK1\n",
    ] {
        copy_in(&mut client, "COPY patients (id, ssn) FROM STDIN", &[input], false);
    }
    copy_in(&mut client, "COPY patients (id, ssn) FROM STDIN CSV HEADER", &[b"100,SEENMARK3\n"], false);
    copy_in(&mut client, "COPY patients (id) FROM STDIN", &[b"101\tSEENMARK4\n"], false);
    copy_in(&mut client, "COPY patients (id, visits) FROM STDIN", &[b"101\tSEENMARK5\n"], true);
    assert_nothing_seen(&["SEENMARK"], true);
    // The negative control.
    let frames = copy_in(&mut client, "COPY wards FROM STDIN", &[b"100\tSEENCONTROL\t1\n"], false);
    assert_eq!(sqlstate(&frames), None);
    let search = Search::new([&Marker::text("SEENCONTROL")], 8).unwrap();
    assert!(shared().recorder.sent().iter().any(|bytes| !search.leaks(bytes).is_empty()));
}

fn assert_nothing_seen(markers: &[&str], log: bool) {
    let markers: Vec<Marker> = markers.iter().map(|marker| Marker::text(marker)).collect();
    let search = Search::new(&markers, 7).unwrap();
    let shared = shared();
    // The plain side of a pair has its log there, too.
    let log = log.then(|| shared.cluster.log().into_bytes());
    for bytes in shared.recorder.sent().into_iter().chain(log) {
        let leaks = search.leaks(&bytes);
        assert!(leaks.is_empty(), "{leaks:?}");
    }
}

#[test]
fn a_hundred_thousand_rows_in_little_memory() {
    const ROWS: usize = 100_000;
    let database = clinic();
    let mut client = Frontend::connect(&database.alice, &[]).unwrap();
    client.send(|buffer| frontend::query("COPY patients (id, ssn, name) FROM STDIN", buffer)).unwrap();
    let mut sender = client.sender().unwrap();
    let frames = until_ready(&mut client, |_| {
        let mut rows = Vec::new();
        for number in 0..ROWS {
            writeln!(rows, "{}\tssn {number}\tname {}", 1000 + number, "n".repeat(number % 100)).unwrap();
        }
        for piece in rows.chunks(60_007) {
            let mut buffer = BytesMut::new();
            data(&[piece], &mut buffer);
            sender.write_all(&buffer).unwrap();
        }
        let mut buffer = BytesMut::new();
        frontend::copy_done(&mut buffer);
        sender.write_all(&buffer).unwrap();
    });
    assert_eq!(sqlstate(&frames), None);
    let status = format!("/proc/{}/status", shared().proxy.process().pid());
    let status = std::fs::read_to_string(status).unwrap();
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    let resident: u64 = resident.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(resident < 300_000, "the proxy holds {resident} kB");
    let out = until_ready_of(
        &mut client,
        "COPY (SELECT id, ssn FROM patients WHERE id >= 1000 ORDER BY id) TO STDOUT",
    );
    let rows: Vec<_> = out.iter().filter(|frame| frame.tag == b'd').collect();
    assert_eq!(rows.len(), ROWS);
    assert_eq!(rows[ROWS - 1].body, format!("{}\tssn {}\n", 999 + ROWS, ROWS - 1).into_bytes());
}
