//! The protocol's hard parts: pipelines, portals, errors between messages, cancel, asynchronous
//! messages, malformed ones. What the client sees is compared with PostgreSQL's own answers.

use crate::shared::{Database, clinic, shared};
use bytes::{BufMut, BytesMut};
use postgres_protocol::message::frontend;
use std::io::Write;
use std::net::TcpStream;
use std::time::{Duration, Instant};
use trefoil_tests::frontend::{Frame, Frontend, bind, sqlstate};

fn tags(frames: &[Frame]) -> String {
    frames.iter().map(|frame| char::from(frame.tag)).collect()
}

fn alice(database: &Database) -> Frontend {
    Frontend::connect(&database.alice, &[]).unwrap()
}

fn parse(name: &str, text: &str, buffer: &mut BytesMut) {
    frontend::parse(name, text, [], buffer).unwrap();
}

/// Bind of the unnamed portal and Execute of all rows.
fn run(statement: &str, parameters: &[Option<&[u8]>], buffer: &mut BytesMut) {
    bind("", statement, parameters, false, false, buffer).unwrap();
    frontend::execute("", 0, buffer).unwrap();
}

fn first_columns(frames: &[Frame]) -> Vec<String> {
    let rows = frames.iter().filter(|frame| frame.tag == b'D');
    rows.map(|row| String::from_utf8(row.columns()[0].clone().unwrap()).unwrap()).collect()
}

#[test]
fn twenty_thousand_pipelined_statements_while_the_client_does_not_read() {
    const STATEMENTS: usize = 20_000;
    let database = clinic();
    let mut client = alice(&database);
    let mut buffer = BytesMut::new();
    parse("plain", "SELECT $1::int, repeat('x', 2000)", &mut buffer);
    parse("cell", "SELECT ssn, $1::int FROM patients WHERE ssn = $2", &mut buffer);
    for number in 0..STATEMENTS {
        let text = number.to_string();
        if number % 10 == 0 {
            run("cell", &[Some(text.as_bytes()), Some(b"SEED-001")], &mut buffer);
        } else {
            run("plain", &[Some(text.as_bytes())], &mut buffer);
        }
    }
    frontend::sync(&mut buffer);
    let mut sender = client.sender().unwrap();
    let writer = std::thread::spawn(move || sender.write_all(&buffer));
    // Long enough for every buffer on the way to fill.
    std::thread::sleep(Duration::from_millis(1500));
    let status = format!("/proc/{}/status", shared().proxy.process().pid());
    let status = std::fs::read_to_string(status).unwrap();
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    let resident: u64 = resident.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(resident < 300_000, "the proxy holds {resident} kB");

    let frames = client.until_ready().unwrap();
    writer.join().unwrap().unwrap();
    let rows: Vec<_> = frames.iter().filter(|frame| frame.tag == b'D').map(Frame::columns).collect();
    assert_eq!(rows.len(), STATEMENTS, "{:?}", sqlstate(&frames));
    for (number, row) in rows.iter().enumerate() {
        let text = Some(number.to_string().into_bytes());
        if number % 10 == 0 {
            assert_eq!(row, &[Some(b"SEED-001".to_vec()), text]);
        } else {
            assert_eq!((&row[0], row[1].as_ref().map(Vec::len)), (&text, Some(2000)));
        }
    }
    assert_eq!(client.status, b'I');
}

#[test]
fn an_error_in_the_middle_skips_to_sync_and_no_further() {
    let database = clinic();
    // PostgreSQL's own error, and a refusal of ours, look alike.
    for (bad, code) in
        [("SELECT 1/0", "22012"), ("SELECT upper(ssn) FROM patients", "0A000"), ("SELEC 1", "42601")]
    {
        let mut client = alice(&database);
        let mut buffer = BytesMut::new();
        parse("", "SELECT ssn FROM patients WHERE id = 1", &mut buffer);
        run("", &[], &mut buffer);
        parse("bad", bad, &mut buffer);
        run("bad", &[], &mut buffer);
        parse("never", "SELECT 'never'", &mut buffer);
        run("never", &[], &mut buffer);
        frontend::sync(&mut buffer);
        parse("", "SELECT ssn FROM patients WHERE id = 2", &mut buffer);
        run("", &[], &mut buffer);
        frontend::sync(&mut buffer);
        frontend::query("SELECT name FROM wards WHERE id = 1", &mut buffer).unwrap();
        client.send_bytes(&buffer).unwrap();
        let first = client.until_ready().unwrap();
        assert_eq!(sqlstate(&first).as_deref(), Some(code), "{bad}");
        assert_eq!(first_columns(&first), ["SEED-001"]);
        let shape = tags(&first);
        assert!(shape.starts_with("12DC") && shape.ends_with("EZ"), "{bad}: {shape}");
        let second = client.until_ready().unwrap();
        assert_eq!(
            (tags(&second).as_str(), first_columns(&second)),
            ("12DCZ", vec!["SEED-002".to_owned()]),
            "{bad}"
        );
        let third = client.until_ready().unwrap();
        assert_eq!(
            (tags(&third).as_str(), first_columns(&third)),
            ("TDCZ", vec!["Cardiology".to_owned()]),
            "{bad}"
        );
    }
}

#[test]
fn a_refusal_aborts_the_transaction_as_any_error_does() {
    let database = clinic();
    let mut client = alice(&database);
    client.query("BEGIN").unwrap();
    client.query("UPDATE patients SET ward = 99 WHERE id = 1").unwrap();
    let refused = client.query("SELECT upper(ssn) FROM patients").unwrap();
    assert_eq!((tags(&refused).as_str(), client.status), ("EZ", b'E'));
    let error = refused[0].field(b'M').unwrap();
    assert!(error.contains("ssn") && error.contains("patients"), "names table and column: {error}");
    assert_eq!(sqlstate(&client.query("SELECT ssn FROM patients").unwrap()).as_deref(), Some("25P02"));
    client.query("ROLLBACK").unwrap();
    assert_eq!(first_columns(&client.query("SELECT ward FROM patients WHERE id = 1").unwrap()), ["1"]);
}

#[test]
fn portals_suspend_and_go_on() {
    let database = clinic();
    let mut client = alice(&database);
    let mut buffer = BytesMut::new();
    frontend::query("BEGIN", &mut buffer).unwrap();
    parse("s", "SELECT ssn FROM patients ORDER BY id", &mut buffer);
    bind("p", "s", &[], false, false, &mut buffer).unwrap();
    bind("q", "s", &[], false, true, &mut buffer).unwrap();
    frontend::execute("p", 1, &mut buffer).unwrap();
    frontend::execute("q", 2, &mut buffer).unwrap();
    frontend::execute("p", 2, &mut buffer).unwrap();
    frontend::execute("p", 0, &mut buffer).unwrap();
    frontend::sync(&mut buffer);
    client.send_bytes(&buffer).unwrap();
    client.until_ready().unwrap();
    let frames = client.until_ready().unwrap();
    assert_eq!(tags(&frames), "122DsDDsDDsDCZ");
    let expected = ["SEED-001", "SEED-001", "SEED-002", "SEED-002", "SEED-003", "SEED-004"];
    assert_eq!(first_columns(&frames), expected);
}

#[test]
fn a_failed_parse_leaves_the_statement_of_that_name_as_it_was() {
    let database = clinic();
    let mut client = alice(&database);
    let mut buffer = BytesMut::new();
    parse("s", "SELECT ssn FROM patients WHERE id = 1", &mut buffer);
    frontend::sync(&mut buffer);
    // The name exists: 42P05, and `s` still decrypts.
    parse("s", "SELECT name FROM wards WHERE id = 1", &mut buffer);
    frontend::sync(&mut buffer);
    run("s", &[], &mut buffer);
    frontend::sync(&mut buffer);
    frontend::close(b'S', "s", &mut buffer).unwrap();
    run("s", &[], &mut buffer);
    frontend::sync(&mut buffer);
    client.send_bytes(&buffer).unwrap();
    assert_eq!(tags(&client.until_ready().unwrap()), "1Z");
    assert_eq!(sqlstate(&client.until_ready().unwrap()).as_deref(), Some("42P05"));
    assert_eq!(first_columns(&client.until_ready().unwrap()), ["SEED-001"]);
    let closed = client.until_ready().unwrap();
    assert_eq!((tags(&closed).as_str(), sqlstate(&closed).as_deref()), ("3EZ", Some("26000")));
}

#[test]
fn describe_shows_the_logical_types_before_and_after_bind() {
    let database = clinic();
    let mut client = alice(&database);
    let text = "SELECT name, mrn, born, seen, visits, account, grade, insured, token, balance, photo, notes, ward \
                FROM patients WHERE ssn = $1 AND born = $2 AND visits = $3 AND ward = $4";
    let mut buffer = BytesMut::new();
    parse("", text, &mut buffer);
    frontend::describe(b'S', "", &mut buffer).unwrap();
    bind("", "", &[Some(b"SEED-001"), None, None, None], false, true, &mut buffer).unwrap();
    frontend::describe(b'P', "", &mut buffer).unwrap();
    frontend::sync(&mut buffer);
    client.send_bytes(&buffer).unwrap();
    let frames = client.until_ready().unwrap();
    assert_eq!(tags(&frames), "1tT2TZ");
    let parameters: Vec<_> =
        frames[1].body[2..].chunks(4).map(|oid| u32::from_be_bytes(oid.try_into().unwrap())).collect();
    assert_eq!(parameters, [25, 1082, 23, 23]);
    let oids = |frame: &Frame| {
        let mut oids = Vec::new();
        let mut rest = &frame.body[2..];
        while let Some(end) = rest.iter().position(|byte| *byte == 0) {
            let field = &rest[end + 1..end + 19];
            oids.push((
                u32::from_be_bytes(field[6..10].try_into().unwrap()),
                i32::from_be_bytes(field[12..16].try_into().unwrap()),
                i16::from_be_bytes(field[16..18].try_into().unwrap()),
            ));
            rest = &rest[end + 19..];
        }
        oids
    };
    let types = [
        (25, -1),
        (1043, 16),
        (1082, -1),
        (1184, -1),
        (23, -1),
        (20, -1),
        (21, -1),
        (16, -1),
        (2950, -1),
        (1700, 786_438),
        (17, -1),
        (3802, -1),
        (23, -1),
    ];
    for (frame, format) in [(&frames[2], 0), (&frames[4], 1)] {
        let expected: Vec<_> = types.iter().map(|(oid, modifier)| (*oid, *modifier, format)).collect();
        assert_eq!(oids(frame), expected);
    }
}

#[test]
fn a_cancel_request_through_the_proxy_ends_a_statement() {
    let database = clinic();
    for endpoint in [&database.alice, &database.proxy] {
        let mut client = Frontend::connect(endpoint, &[]).unwrap();
        client.send(|buffer| frontend::query("SELECT pg_sleep(30)", buffer)).unwrap();
        std::thread::sleep(Duration::from_millis(200));
        let begun = Instant::now();
        let mut request = BytesMut::new();
        frontend::cancel_request(client.process_id, client.secret_key, &mut request);
        TcpStream::connect(("127.0.0.1", endpoint.port)).unwrap().write_all(&request).unwrap();
        let frames = client.until_ready().unwrap();
        assert_eq!(sqlstate(&frames).as_deref(), Some("57014"));
        assert!(begun.elapsed() < Duration::from_secs(10));
    }
}

#[test]
fn asynchronous_messages_pass() {
    let database = clinic();
    let mut client = alice(&database);
    client.query("LISTEN news").unwrap();
    database.direct.run("NOTIFY news, 'payload one'").unwrap();
    let frame = client.read().unwrap();
    assert_eq!((frame.tag, frame.body[4..].to_vec()), (b'A', b"news\0payload one\0".to_vec()));
    let frames = client.query("DO $$BEGIN RAISE NOTICE 'a notice'; END$$").unwrap();
    assert_eq!(frames[0].field(b'M').as_deref(), Some("a notice"));
    let frames = client.query("SET application_name = 'seen'").unwrap();
    assert!(frames.iter().any(|frame| frame.tag == b'S' && frame.body == b"application_name\0seen\0"));
}

#[test]
fn text_that_is_not_utf8_is_not_touched() {
    let database = clinic();
    let mut direct = Frontend::connect(&database.direct, &[("client_encoding", "LATIN1")]).unwrap();
    let mut proxied = Frontend::connect(&database.alice, &[("client_encoding", "LATIN1")]).unwrap();
    let mut text = BytesMut::new();
    text.put_u8(b'Q');
    text.put_u32(23);
    text.put_slice(b"SELECT 'caf\xe9 \xfc\xdf' \0");
    let length = u32::try_from(text.len() - 1).unwrap();
    text[1..5].copy_from_slice(&length.to_be_bytes());
    for client in [&mut direct, &mut proxied] {
        client.send_bytes(&text).unwrap();
    }
    let expected = direct.until_ready().unwrap();
    assert_eq!(expected[1].columns(), [Some(b"caf\xe9 \xfc\xdf".to_vec())]);
    assert_eq!(proxied.until_ready().unwrap(), expected);
    // Protected values in another encoding are refused, not guessed.
    let refused = proxied.query("SELECT ssn FROM patients WHERE ssn = 'x'").unwrap();
    assert_eq!(sqlstate(&refused).as_deref(), Some("0A000"));
}

#[test]
fn copy_of_tables_that_are_not_protected_passes() {
    let database = clinic();
    let mut client = alice(&database);
    let rows = b"10\tcopied one\t1\n11\tcopied two\t2\n";
    client.send(|buffer| frontend::query("COPY wards FROM STDIN", buffer)).unwrap();
    assert_eq!(client.read().unwrap().tag, b'G');
    client
        .send(|buffer| {
            frontend::CopyData::new(&rows[..]).map(|data| data.write(buffer))?;
            frontend::copy_done(buffer);
            Ok::<_, std::io::Error>(())
        })
        .unwrap();
    assert_eq!(tags(&client.until_ready().unwrap()), "CZ");
    let out = client.query("COPY (SELECT * FROM wards WHERE id >= 10 ORDER BY id) TO STDOUT").unwrap();
    let data: Vec<u8> =
        out.iter().filter(|frame| frame.tag == b'd').flat_map(|frame| frame.body.clone()).collect();
    assert_eq!(data, rows);
}

#[test]
fn a_large_value_passes_in_both_directions() {
    let database = clinic();
    let mut client = alice(&database);
    let large = "L".repeat(5_000_000);
    let insert = "INSERT INTO patients (id, ssn, name) VALUES (50, 'large', $1)";
    let frames = client.extended(insert, &[Some(large.as_bytes())], false).unwrap();
    assert_eq!(sqlstate(&frames), None);
    assert_eq!(
        first_columns(&client.query("SELECT name FROM patients WHERE id = 50").unwrap()),
        std::slice::from_ref(&large)
    );
    let frames = client.extended("SELECT $1::text", &[Some(large.as_bytes())], false).unwrap();
    assert_eq!(first_columns(&frames), [large]);
}

#[test]
fn malformed_messages_end_at_most_their_own_session() {
    let database = clinic();
    let mut bystander = alice(&database);
    let garbage: [&[u8]; 9] = [
        b"Q\0\0\0\x03",
        b"Q\0\0\0\x05x",
        b"Q\xff\xff\xff\xff",
        b"P\0\0\0\x08abcd",
        b"B\0\0\0\x08\0\0\xff\xff",
        b"B\0\0\0\x0e\0\0\0\x01\0\x01\xff\xff\xff\xfe",
        b"D\0\0\0\x05X",
        b"E\0\0\0\x06\0\0",
        b"\0\0\0\0\x04",
    ];
    for bytes in garbage {
        for endpoint in [&database.alice, &database.proxy] {
            let mut client = Frontend::connect(endpoint, &[]).unwrap();
            client.send_bytes(bytes).unwrap();
            drop(client.send(|buffer| {
                frontend::sync(buffer);
                Ok::<_, std::io::Error>(())
            }));
            drop(client);
            // Before a session begins, too.
            TcpStream::connect(("127.0.0.1", endpoint.port)).unwrap().write_all(bytes).unwrap();
        }
    }
    assert_eq!(
        first_columns(&bystander.query("SELECT ssn FROM patients WHERE id = 1").unwrap()),
        ["SEED-001"]
    );
    assert_eq!(
        first_columns(&alice(&database).query("SELECT ssn FROM patients WHERE id = 1").unwrap()),
        ["SEED-001"]
    );
}
