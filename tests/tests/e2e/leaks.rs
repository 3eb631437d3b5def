//! The leak recorder: each case of the corpus, once through sidecar and proxy and once on a
//! PostgreSQL without them. What the client sees must be the same, and no marker may be found in what
//! was sent upstream, in the server's log, or in its files.

use crate::shared::{Database, audit_log, clinic, create_schema, shared};
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};
use trefoil_tests::cluster::Cluster;
use trefoil_tests::corpus::{self, Case, Expected, Protocol};
use trefoil_tests::frontend::{Frame, Frontend, sqlstate};
use trefoil_tests::leak::{Marker, Search};

#[test]
fn no_marker_of_the_corpus_is_seen_beyond_the_proxy() {
    let mut cases = corpus::statements().unwrap();
    let oracle = Cluster::scratch().unwrap();
    let oracle = oracle.create_database("corpus").map(|endpoint| (endpoint, oracle)).unwrap();
    create_schema(&oracle.0);
    let database = clinic();
    let mut wrong = Vec::new();
    let mut runs = 0;
    for case in &cases {
        let mut proxied = Frontend::connect(&database.alice, &[]).unwrap();
        let mut plain = Frontend::connect(&oracle.0, &[]).unwrap();
        for protocol in case.protocols {
            runs += 1;
            let expected = run(case, *protocol, &mut plain);
            let seen = run(case, *protocol, &mut proxied);
            if let Err(difference) = compare(case, expected, seen) {
                wrong.push(format!("{} {protocol:?}: {}\n    {difference}", case.place, case.statement));
            }
        }
    }
    let sessions = corpus::sessions().unwrap();
    for session in &sessions {
        let mut proxied = Frontend::connect(&database.alice, &[]).unwrap();
        let mut plain = Frontend::connect(&oracle.0, &[]).unwrap();
        for case in session {
            runs += 1;
            let protocol = case.protocols[0];
            let expected = match case.expected {
                Expected::Same(_) => send(case, protocol, &mut plain),
                // What is refused may not run there either, but a transaction is aborted by it.
                Expected::Error(_) => plain.query("refused").unwrap(),
            };
            let seen = send(case, protocol, &mut proxied);
            if let Err(difference) = compare(case, expected, seen) {
                wrong.push(format!("{} {protocol:?}: {}\n    {difference}", case.place, case.statement));
            }
        }
    }
    cases.extend(sessions.into_iter().flatten());
    assert!(wrong.is_empty(), "{} of {runs} runs went wrong:\n{}", wrong.len(), wrong.join("\n"));
    println!("{} cases in {runs} runs", cases.len());
    look_for_leaks(&cases);
    the_recorder_sees_what_is_not_protected(&database);
}

fn look_for_leaks(cases: &[Case]) {
    let owners: Vec<&Case> = cases.iter().flat_map(|case| case.markers.iter().map(move |_| case)).collect();
    let markers = cases.iter().flat_map(|case| &case.markers);
    // Shorter forms turn up by chance in megabytes of cells.
    let search = Search::new(markers, 8).unwrap();
    let mut leaks = Vec::new();
    for (place, bytes) in places() {
        for (number, leak) in search.leaks(&bytes) {
            leaks.push(format!("{}: {leak} in {place}: {}", owners[number].place, owners[number].statement));
        }
    }
    assert!(leaks.is_empty(), "{} leaks:\n{}", leaks.len(), leaks.join("\n"));
}

/// The negative control: a marker in a column that is not protected is found in each of the places.
fn the_recorder_sees_what_is_not_protected(database: &Database) {
    let mut frontend = Frontend::connect(&database.alice, &[]).unwrap();
    let frames = frontend.query("INSERT INTO wards VALUES (77, 'CONTROL77QZ', 1)").unwrap();
    assert_eq!(sqlstate(&frames), None);
    let search = Search::new([&Marker::text("CONTROL77QZ")], 8).unwrap();
    let found: Vec<_> = places().into_iter().filter(|(_, bytes)| !search.leaks(bytes).is_empty()).collect();
    for place in ["sent", "log", "file"] {
        assert!(found.iter().any(|(name, _)| name.starts_with(place)), "the recorder is blind: {place}");
    }
}

/// Everything beyond the proxy: what was sent, the log, the files.
fn places() -> Vec<(String, Vec<u8>)> {
    let shared = shared();
    shared.cluster.checkpoint().unwrap();
    let sent = shared.recorder.sent().into_iter().enumerate();
    let mut places: Vec<_> =
        sent.map(|(number, bytes)| (format!("sent by connection {number}"), bytes)).collect();
    places.push(("log".to_owned(), shared.cluster.log().into_bytes()));
    files(&shared.cluster.data(), &mut places);
    places.push(("audit log".to_owned(), fs::read(audit_log()).unwrap()));
    places
}

/// Shares and envelopes beside what the corpus marks.
#[test]
fn no_share_and_no_envelope_is_in_the_audit_log() {
    let database = clinic();
    let tenant = &shared().tenant;
    let (envelope, share) =
        (tenant.envelope("alice", &[]).unwrap(), tenant.application_share("alice").unwrap());
    let mut client = Frontend::connect(&database.proxy, &[]).unwrap();
    let carriers =
        format!("/*trefoil_user='alice',trefoil_envelope='{envelope}',trefoil_app_share='{share}'*/ ");
    for text in [
        "SELECT ssn FROM patients",
        "SELECT name FROM patients WHERE ssn = 'SEED-001' AND upper(name) = 'AUDIT-MARK'",
        "SELECT name FROM patients WHERE ssn = 'AUDIT-MARK",
    ] {
        client.query(&(carriers.clone() + text)).unwrap();
    }
    let settings = format!("SET trefoil.envelope = '{envelope}'; SET trefoil.app_share = '{share}'");
    client.query(&settings).unwrap();
    client.query("SELECT nothing FROM patients WHERE ssn = 'AUDIT-MARK'").unwrap();
    let database = format!("\"database\":\"{}\"", database.direct.database);
    let end = Instant::now() + Duration::from_secs(30);
    let log = loop {
        let log = String::from_utf8(fs::read(audit_log()).unwrap()).unwrap();
        let own: Vec<&str> = log.lines().filter(|line| line.contains(&database)).collect();
        let all = ["\"event\":\"access\"", "TF201", "TF101"];
        if all.iter().all(|one| own.iter().any(|line| line.contains(one))) {
            break log;
        }
        assert!(Instant::now() < end, "{own:?}");
        std::thread::sleep(Duration::from_millis(20));
    };
    let (_, secret) = share.split_once(':').unwrap();
    let parts = envelope.split('.').filter(|part| part.len() > 20);
    for hidden in parts.chain([secret, "AUDIT-MARK", "SEED-001"]) {
        assert!(!log.contains(hidden), "{hidden}");
    }
}

fn files(directory: &Path, places: &mut Vec<(String, Vec<u8>)>) {
    for entry in fs::read_dir(directory).unwrap().flatten() {
        if entry.file_type().unwrap().is_dir() {
            files(&entry.path(), places);
        } else if let Ok(bytes) = fs::read(entry.path()) {
            places.push((format!("file {}", entry.path().display()), bytes));
        }
    }
}

/// Says what differs from what is expected.
fn compare(case: &Case, expected: Vec<Frame>, seen: Vec<Frame>) -> Result<(), String> {
    let show = |frames: &[Frame]| {
        frames.iter().map(|frame| format!("{frame:?}")).collect::<Vec<_>>().join("\n      ")
    };
    match &case.expected {
        Expected::Error(code) if sqlstate(&seen).as_ref() == Some(code) => Ok(()),
        Expected::Error(code) => Err(format!("expected {code}, got\n      {}", show(&seen))),
        Expected::Same(count) => {
            if let Some(error) = expected.iter().find(|frame| frame.tag == b'E') {
                return Err(format!("PostgreSQL itself says {error:?}"));
            }
            if let Some(count) = count.filter(|count| *count != rows(&expected)) {
                return Err(format!("PostgreSQL itself has {} rows, not {count}", rows(&expected)));
            }
            let (expected, seen) = (normal(case, expected), normal(case, seen));
            if expected == seen {
                return Ok(());
            }
            Err(format!("expected\n      {}\n    got\n      {}", show(&expected), show(&seen)))
        }
    }
}

/// Sends a case in a transaction of its own.
fn run(case: &Case, protocol: Protocol, frontend: &mut Frontend) -> Vec<Frame> {
    frontend.query("BEGIN").unwrap();
    let frames = send(case, protocol, frontend);
    frontend.query("ROLLBACK").unwrap();
    assert_eq!(frontend.status, b'I', "{}", case.place);
    frames
}

fn send(case: &Case, protocol: Protocol, frontend: &mut Frontend) -> Vec<Frame> {
    let parameters: Vec<_> =
        case.parameters.iter().map(|value| value.as_deref().map(str::as_bytes)).collect();
    let frames = match protocol {
        Protocol::Simple => frontend.query(&case.statement),
        Protocol::ExtendedText => frontend.extended(&case.statement, &parameters, false),
        Protocol::ExtendedBinary => frontend.extended(&case.statement, &parameters, true),
    };
    frames.unwrap_or_else(|error| panic!("{} {protocol:?}: {error}: {}", case.place, case.statement))
}

/// Rows returned, or affected where none are.
fn rows(frames: &[Frame]) -> usize {
    let returned = frames.iter().filter(|frame| frame.tag == b'D').count();
    let tag =
        frames.iter().find(|frame| frame.tag == b'C').map(|frame| frame.body.as_slice()).unwrap_or_default();
    let affected =
        String::from_utf8_lossy(tag).trim_end_matches('\0').rsplit(' ').next().and_then(|n| n.parse().ok());
    if returned > 0 { returned } else { affected.unwrap_or(0) }
}

/// Without what may differ: the OIDs of tables and of the schema's own types, the order of rows that
/// nobody ordered, notices, and the type of a parameter that meets a `varchar` (1043) or a `cidr` (650),
/// which is `text` (25) or `inet` (869), where we name the column's; the same of arrays.
fn normal(case: &Case, mut frames: Vec<Frame>) -> Vec<Frame> {
    frames.retain(|frame| !matches!(frame.tag, b'N' | b'S'));
    for frame in &mut frames {
        if frame.tag == b't' {
            for oid in frame.body[2..].chunks_mut(4) {
                let compared = match u32::from_be_bytes(oid.try_into().unwrap()) {
                    1043 => 25,
                    1015 => 1009,
                    650 => 869,
                    own @ 16_384.. => own.min(16_384),
                    other => other,
                };
                oid.copy_from_slice(&compared.to_be_bytes());
            }
        }
        if frame.tag == b'T' {
            frame.hide_own_oids();
        }
    }
    if !case.statement.to_uppercase().contains("ORDER BY") {
        for run in frames.chunk_by_mut(|a, b| a.tag == b'D' && b.tag == b'D') {
            run.sort_by(|a, b| a.body.cmp(&b.body));
        }
    }
    frames
}
