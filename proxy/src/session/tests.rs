//! The state machine alone: bytes in, bytes out, without sockets, server or catalog.

use super::carriers::Presented;
use super::socket::Side;
use super::state::{State, Turn};
use super::{Door, Environment, Fault, Plans, Session};
use crate::authentication::{Authentication, Files};
use crate::copy::{Column, Format, Header, Layout};
use crate::error::ClientError;
use crate::policy::Policy;
use crate::shares::{Keyring, Limits, Shares};
use crate::sql::{Context, CopyPlan, Naming, Plan, Refusal, SearchPath, StatementPlan};
use crate::upstream::{Catalogs, Server};
use crate::wire::backend::{Failure, Severity, error_response};
use proptest::prelude::{ProptestConfig, any, proptest};
use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;
use tokio::net::UnixStream;
use tokio::task::yield_now;
use trefoil_keys::tls::SelfSigned;
use trefoil_link::{Address, ServedTls, Source, Stream};

/// Texts that are slow to analyse: how many were begun, and what they wait for.
static ANALYSED: AtomicUsize = AtomicUsize::new(0);
static GATE: Mutex<()> = Mutex::new(());

fn analyze(text: &[u8], _: &Context<'_>, path: Option<&Arc<SearchPath>>) -> (Result<Plan, Refusal>, bool) {
    let plan = || Plan { statements: vec![StatementPlan::default()], ..Plan::default() };
    let by_path = |path: &Arc<SearchPath>| Plan { path: Some(Arc::clone(path)), ..plan() };
    let outcome = match text {
        b"by path" => return (Ok(path.map_or_else(plan, by_path)), true),
        b"refuse" => Err(Refusal::Refused(ClientError::new("42501", "told so", "").at(Some(2)))),
        b"unknown" => Err(Refusal::UnknownRelation(ClientError::new("42P01", "no such table", ""))),
        b"copy" => Ok(copy()),
        b"large" => {
            let statements = (0..600_000 / size_of::<StatementPlan>()).map(|_| StatementPlan::default());
            Ok(Plan { statements: statements.collect(), ..Plan::default() })
        }
        b"prepare" | b"declare" => Ok(named(text)),
        b"moves" => Ok(Plan { changes_path: true, ..plan() }),
        text if text.starts_with(b"slow") => {
            ANALYSED.fetch_add(1, Ordering::SeqCst);
            drop(GATE.lock().unwrap());
            Ok(plan())
        }
        _ => Ok(plan()),
    };
    (outcome, false)
}

/// A COPY into one column of a protected table, which is not a cell: no keys are needed.
fn copy() -> Plan {
    let layout = Layout {
        format: Format::Text,
        header: Header::None,
        delimiter: b'\t',
        null: b"\\N".to_vec(),
        default: None,
        quote: b'"',
        escape: b'"',
        columns: vec![Column { name: "id".to_owned(), ..Column::default() }],
    };
    let copy = CopyPlan { from: true, layout: Arc::new(layout), cells: vec![None] };
    let statement = StatementPlan { copy: Some(Arc::new(copy)), ..StatementPlan::default() };
    Plan { statements: vec![statement], protected: true, ..Plan::default() }
}

/// PREPARE, or DECLARE, of the name `n`.
fn named(text: &[u8]) -> Plan {
    let (name, plan) = ("n".to_owned(), Arc::new(Plan::default()));
    let naming = match text {
        b"prepare" => Naming::Prepare { name, plan, declared: Arc::default() },
        _ => Naming::Declare { name, plan, hold: false, binary: false },
    };
    let statement = StatementPlan { naming: Some(naming), ..StatementPlan::default() };
    Plan { statements: vec![statement], ..Plan::default() }
}

fn state() -> State {
    let limits = Limits { max_validity: Duration::from_secs(60), clock_skew: Duration::from_secs(5) };
    let shares = Arc::new(Shares::new(Keyring::default(), limits));
    let policy = Arc::new(Policy::default());
    let login = tokio_postgres::Config::new();
    let own = SelfSigned::generate(&["localhost".to_owned()]).unwrap();
    let server = Arc::new(Server::new(Address::new("/nowhere", 1), None).unwrap());
    let environment = Environment {
        plans: Plans::with_analysis(Arc::clone(&policy), 1 << 20, analyze),
        shares: Arc::clone(&shares),
        catalogs: Arc::new(Catalogs::new(Arc::clone(&server), login, policy, shares, None)),
        door: Door {
            tls: Arc::new(ServedTls::new(Source::Own(own), None, false, &[b"postgresql"]).unwrap()),
            tls_required: true,
            patience: Duration::from_secs(60),
        },
        server,
        authentication: Arc::new(Authentication::load(Files::default()).unwrap()),
        max_message: 1 << 20,
        max_statements: 3,
        max_portals: 3,
        audit: None,
    };
    let mut state = State::new(Arc::new(environment), Presented::default(), None);
    state.begun = true;
    let ready = b"K\0\0\0\x0c\0\0\0\x01\0\0\0\x02Z\0\0\0\x05I";
    assert_eq!(reply(&mut state, ready), ready);
    state
}

fn send(state: &mut State, input: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let (consumed, turn) = state.frontend(input, &mut out);
    assert!(matches!(turn, Ok(Turn::More)), "not taken whole");
    assert_eq!(consumed, input.len());
    out
}

fn reply(state: &mut State, input: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let (consumed, turn) = state.backend(input, &mut out);
    assert!(matches!(turn, Ok(Turn::More)), "not taken whole");
    assert_eq!(consumed, input.len());
    out
}

fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    let length = i32::try_from(body.len() + 4).unwrap();
    [&[tag][..], &length.to_be_bytes(), body].concat()
}

const READY: &[u8] = b"Z\0\0\0\x05I";

fn error() -> Vec<u8> {
    message(b'E', b"SERROR\0VERROR\0C42601\0Msyntax\0\0")
}

fn told(message: &str, code: &str, position: Option<usize>) -> Vec<u8> {
    let mut out = Vec::new();
    let failure =
        Failure { severity: Severity::Error, code, message, detail: "", hint: "", position, routine: "" };
    error_response(&mut out, &failure).unwrap();
    out
}

#[test]
fn plain_messages_pass_byte_for_byte() {
    let mut state = state();
    let sent = [
        message(b'P', b"\0SELECT '\xff'\0\0\0"),
        message(b'B', b"\0\0\0\0\0\0\0\0"),
        message(b'E', b"\0\0\0\0\0"),
        message(b'S', b""),
    ]
    .concat();
    assert_eq!(send(&mut state, &sent), sent);
    let replies = [
        message(b'1', b""),
        message(b'2', b""),
        message(b'D', b"\0\x01\0\0\0\x01\xff"),
        message(b'C', b"SELECT 1\0"),
    ]
    .concat();
    assert_eq!(reply(&mut state, &replies), replies);
    assert_eq!(reply(&mut state, READY), READY);
    assert!(state.queue.is_empty());
}

#[test]
fn a_refusal_keeps_its_place() {
    let mut state = state();
    let query = |text: &[u8]| message(b'Q', text);
    let sent = [query(b"one\0"), query(b"refuse\0"), query(b"two\0")].concat();
    let upstream = [query(b"one\0"), query(b"trefoil_refused\0"), query(b"two\0")].concat();
    assert_eq!(send(&mut state, &sent), upstream);
    let done = [message(b'C', b"X\0"), READY.to_vec()].concat();
    assert_eq!(reply(&mut state, &done), done);
    let replies = [error(), READY.to_vec(), done.clone()].concat();
    assert_eq!(
        reply(&mut state, &replies),
        [told("told so", "42501", Some(3)), READY.to_vec(), done].concat()
    );
}

#[test]
fn a_refused_message_that_succeeds_ends_the_session() {
    let mut state = state();
    send(&mut state, &message(b'Q', b"refuse\0"));
    let (_, turn) = state.backend(&message(b'C', b"X\0"), &mut Vec::new());
    assert!(matches!(turn, Err(Fault::Fatal(_))));
}

#[test]
fn what_may_still_fail_is_not_used_across_a_sync() {
    let mut state = state();
    let bind = message(b'B', b"\0s\0\0\0\0\0\0\0");
    send(&mut state, &[message(b'P', b"s\0x\0\0\0"), message(b'S', b"")].concat());
    let (consumed, turn) = state.frontend(&bind, &mut Vec::new());
    assert!(consumed == 0 && matches!(turn, Ok(Turn::Blocked)));
    reply(&mut state, &[error(), READY.to_vec()].concat());
    let stand_in = send(&mut state, &bind);
    assert_eq!(stand_in, message(b'B', b"\0trefoil_refused\0\0\0\0\0\0\0"));
}

#[test]
fn after_an_error_messages_up_to_sync_go_nowhere() {
    let mut state = state();
    send(&mut state, &message(b'P', b"s\0x\0\0\0"));
    reply(&mut state, &error());
    let sent = [message(b'Q', b"refuse\0"), message(b'B', b"garbage"), message(b'S', b"")].concat();
    assert_eq!(send(&mut state, &sent), message(b'S', b""));
    assert_eq!(reply(&mut state, READY), READY);
}

#[test]
fn an_unknown_relation_asks_for_the_catalog_once() {
    let mut state = state();
    let query = message(b'Q', b"unknown\0");
    let (consumed, turn) = state.frontend(&query, &mut Vec::new());
    assert!(consumed == 0 && matches!(turn, Ok(Turn::Reload)));
    assert_eq!(send(&mut state, &query), message(b'Q', b"trefoil_refused\0"));
}

/// Treats these messages, all of which succeed.
fn succeeds(state: &mut State, sent: &[Vec<u8>], status: u8) {
    assert_eq!(send(state, &sent.concat()), sent.concat());
    let answers = sent.iter().map(|message| match message[0] {
        b'P' => b"1\0\0\0\x04".to_vec(),
        b'B' => b"2\0\0\0\x04".to_vec(),
        b'C' => b"3\0\0\0\x04".to_vec(),
        _ => [&b"Z\0\0\0\x05"[..], &[status]].concat(),
    });
    reply(state, &answers.collect::<Vec<_>>().concat());
    assert!(state.queue.is_empty());
}

/// Sends a message that is refused by these words and code.
fn is_refused(state: &mut State, sent: &[u8], words: &str) {
    let upstream = send(state, sent);
    assert!(memchr::memmem::find(&upstream, b"trefoil_refused").is_some(), "it was sent up");
    let replies = [error(), b"Z\0\0\0\x05T".to_vec()].concat();
    let end = message(b'S', b"");
    let answered =
        if sent[0] == b'Q' { replies } else { [error(), replies[replies.len() - 6..].to_vec()].concat() };
    if sent[0] != b'Q' {
        send(state, &end);
    }
    let told = String::from_utf8_lossy(&reply(state, &answered)).into_owned();
    assert!(told.contains(words) && told.contains("C54000"), "{told}");
}

#[test]
fn statements_beyond_the_limit_are_refused_and_nothing_shifts() {
    let mut state = state();
    let parse = |name: &str, text: &str| message(b'P', format!("{name}\0{text}\0\0\0").as_bytes());
    let bind = |name: &str| message(b'B', format!("\0{name}\0\0\0\0\0\0\0").as_bytes());
    let sync = || message(b'S', b"");
    succeeds(&mut state, &[parse("a", "x"), parse("b", "x"), parse("c", "x"), sync()], b'I');
    let words = "too many prepared statements in this session";
    is_refused(&mut state, &parse("d", "x"), words);
    is_refused(&mut state, &message(b'Q', b"prepare\0"), words);
    assert_eq!((state.statements.len(), state.statements.get(b"d").is_some()), (3, false));
    // Those that are there serve on, the unnamed one takes no place, and what is closed makes room.
    succeeds(&mut state, &[bind("a"), parse("", "x"), bind(""), sync()], b'I');
    succeeds(&mut state, &[message(b'C', b"Sa\0"), parse("d", "x"), bind("d"), sync()], b'I');
    // Names are not all that counts.
    succeeds(&mut state, &[message(b'C', b"Sa\0"), message(b'C', b"Sb\0"), sync()], b'I');
    succeeds(&mut state, &[message(b'C', b"Sc\0"), parse("a", "large"), sync()], b'I');
    is_refused(&mut state, &parse("b", "large"), words);
    succeeds(&mut state, &[message(b'C', b"Sa\0"), parse("b", "large"), sync()], b'I');
}

#[test]
fn plans_that_may_still_be_taken_back_are_bounded() {
    let mut state = state();
    let parse = message(b'P', b"\0x\0\0\0");
    let all = parse.repeat(1_500);
    let mut out = Vec::new();
    let (consumed, turn) = state.frontend(&all, &mut out);
    assert!(matches!(turn, Ok(Turn::Blocked)) && consumed == 1_024 * parse.len());
    assert_eq!(out, [&all[..consumed], b"H\0\0\0\x04"].concat(), "the server is to answer without a Sync");
    reply(&mut state, &b"1\0\0\0\x04".repeat(1_024));
    let rest = [&all[consumed..], &message(b'S', b"")].concat();
    assert_eq!(send(&mut state, &rest), rest);
    let replies = [b"1\0\0\0\x04".repeat(476), READY.to_vec()].concat();
    assert_eq!(reply(&mut state, &replies), replies);
}

#[test]
fn portals_beyond_the_limit_are_refused_and_nothing_shifts() {
    let mut state = state();
    let bind = |portal: &str| message(b'B', format!("{portal}\0s\0\0\0\0\0\0\0").as_bytes());
    let sync = || message(b'S', b"");
    let all = [message(b'P', b"s\0x\0\0\0"), bind("a"), bind("b"), bind("c"), sync()];
    succeeds(&mut state, &all, b'T');
    let words = "too many cursors and portals in this session";
    is_refused(&mut state, &bind("d"), words);
    is_refused(&mut state, &message(b'Q', b"declare\0"), words);
    assert_eq!((state.portals.len(), state.portals.get(b"d").is_some()), (3, false));
    succeeds(&mut state, &[bind(""), message(b'C', b"Pa\0"), bind("d"), sync()], b'T');
    // They end with their transaction.
    succeeds(&mut state, &[sync()], b'I');
    assert_eq!(state.portals.len(), 0);
    succeeds(&mut state, &[bind("e"), sync()], b'T');
}

const COPY_BEGINS: &[u8] = b"G\0\0\0\x09\0\0\x01\0\0";

/// A COPY that the server has begun.
fn copying() -> State {
    let mut state = state();
    let report = message(b'S', b"client_encoding\0UTF8\0");
    reply(&mut state, &report);
    send(&mut state, &message(b'Q', b"copy\0"));
    reply(&mut state, COPY_BEGINS);
    state
}

#[test]
fn copy_data_without_a_copy_goes_nowhere() {
    let mut state = state();
    let sent = [message(b'd', b"data"), message(b'c', b""), message(b'f', b"why\0")].concat();
    assert_eq!(send(&mut state, &sent), b"");
}

#[test]
fn no_message_is_longer_than_postgresql_accepts() {
    for (tag, mut state) in [(b'd', state()), (b'B', state()), (b'd', copying())] {
        let sent = [&message(b'd', b"1\tx")[..], &[tag, 0x3f, 0xff, 0xff, 0xff]].concat();
        let (_, turn) = state.frontend(&sent, &mut Vec::new());
        assert!(matches!(turn, Err(Fault::Fatal(error)) if error.sqlstate == "08P01"));
        let (consumed, turn) = state.frontend(&[b'd', 0x3f, 0xff, 0xff, 0xfe], &mut Vec::new());
        assert!(consumed == 5 && matches!(turn, Ok(Turn::More)), "the longest of all");
    }
}

#[test]
fn copy_data_waits_until_a_copy_runs() {
    let mut state = state();
    let query = message(b'Q', b"plain\0");
    send(&mut state, &query);
    let early = message(b'd', b"data");
    let mut out = Vec::new();
    let (consumed, turn) = state.frontend(&early, &mut out);
    assert!(consumed == 0 && matches!(turn, Ok(Turn::Blocked)));
    reply(&mut state, &[error(), READY.to_vec()].concat());
    assert_eq!(send(&mut state, &early), b"");
    send(&mut state, &query);
    reply(&mut state, COPY_BEGINS);
    assert_eq!(send(&mut state, &early), early);
    let done = message(b'c', b"");
    assert_eq!(send(&mut state, &done), done);
    // It has ended.
    let (consumed, _) = state.frontend(&early, &mut out);
    assert_eq!(consumed, 0);
}

#[test]
fn copy_data_of_protected_tables_goes_up_in_whole_rows() {
    let mut state = copying();
    assert_eq!(send(&mut state, &message(b'd', b"1\n2")), message(b'd', b"1\n"));
    assert_eq!(send(&mut state, &message(b'd', b"2")), b"");
    let end = [message(b'd', b"\n3"), message(b'c', b"")].concat();
    let upstream = [message(b'd', b"22\n"), message(b'd', b"3"), message(b'c', b"")].concat();
    assert_eq!(send(&mut state, &end), upstream);
}

#[test]
fn a_bad_row_ends_the_copy_and_the_rest_goes_nowhere() {
    let fail = message(b'f', b"trefoil_refused\0");
    for (said, ours) in [("COPY from stdin failed: trefoil_refused", true), ("duplicate", false)] {
        let mut state = copying();
        let rows = message(b'd', b"1\n2\tmore\n3\n");
        assert_eq!(send(&mut state, &rows), [message(b'd', b"1\n"), fail.clone()].concat());
        let rest = [message(b'd', b"4\n"), message(b'c', b"")].concat();
        let (consumed, turn) = state.frontend(&rest, &mut Vec::new());
        assert!(consumed == 0 && matches!(turn, Ok(Turn::Blocked)));
        let replies = [told(said, "57014", None), READY.to_vec()].concat();
        let seen = reply(&mut state, &replies);
        assert_eq!(seen == replies, !ours);
        assert_eq!(seen.windows(5).any(|code| code == b"22P04"), ours);
        assert_eq!(send(&mut state, &rest), b"");
    }
}

#[test]
fn another_message_during_a_copy_fails_the_copy_and_goes_nowhere() {
    for tag in *b"QPBDECF" {
        let mut state = copying();
        let fail = message(b'f', b"trefoil_refused\0");
        assert_eq!(send(&mut state, &message(tag, b"by path\0\0\0")), fail);
        let said = told("COPY from stdin failed: trefoil_refused", "57014", None);
        let seen = reply(&mut state, &[said, READY.to_vec()].concat());
        assert!(seen.windows(5).any(|code| code == b"08P01"));
        assert!(state.queue.is_empty());
    }
}

#[test]
fn a_value_beyond_the_parameters_stays_here() {
    let mut state = state();
    reply(&mut state, &message(b'S', b"client_encoding\0UTF8\0"));
    send(&mut state, &message(b'P', b"\0copy\0\0\0"));
    let sent = send(&mut state, &message(b'B', b"\0\0\0\0\0\x01\0\0\0\x06secret\0\0"));
    assert!(!sent.is_empty() && !sent.windows(6).any(|bytes| bytes == b"secret"));
}

#[test]
fn unknown_messages_and_lengths_end_the_session() {
    for bad in [&b"y\0\0\0\x04"[..], b"Q\0\0\0\x03", b"D\x7f\xff\xff\xff", b"K\0\0\0\x04", b"Q\0\0\0\x05x"] {
        let (_, turn) = state().frontend(bad, &mut Vec::new());
        assert!(matches!(turn, Err(Fault::Fatal(error)) if error.sqlstate == "08P01"));
    }
}

#[test]
fn long_binds_of_plain_statements_are_not_held() {
    let mut state = state();
    send(&mut state, &message(b'P', b"\0x\0\0\0"));
    let mut bind = b"B\x10\0\0\0\0\0\0\0\0\x01\x0f\0\0\0".to_vec();
    bind.resize(200_000, b'v');
    let mut out = Vec::new();
    let (consumed, _) = state.frontend(&bind, &mut out);
    assert_eq!((consumed, out), (bind.len(), bind));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn mutated_streams_never_panic(at in 0_usize..90, byte in any::<u8>(), cut in 0_usize..90) {
        let mut state = state();
        let mut sent = [
            message(b'P', b"s\0SELECT $1\0\0\x01\0\0\0\x17"),
            message(b'D', b"Ss\0"),
            message(b'B', b"\0s\0\0\0\0\x01\0\0\0\x01x\0\0"),
            message(b'E', b"\0\0\0\0\0"),
            message(b'S', b""),
            message(b'Q', b"refuse\0"),
        ].concat();
        let mut replies = [
            message(b'1', b""), message(b't', b"\0\x01\0\0\0\x17"), message(b'n', b""),
            message(b'2', b""), message(b'D', b"\0\0"), message(b'C', b"X\0"), READY.to_vec(), error(),
        ].concat();
        if let Some(place) = replies.get_mut(at) { *place = byte; }
        if let Some(place) = sent.get_mut(cut) { *place = byte; }
        sent.truncate(90 - cut + 20);
        let mut out = Vec::new();
        let _ = state.frontend(&sent, &mut out);
        let _ = state.backend(&replies, &mut out);
        let _ = state.frontend(&sent, &mut out);
    }
}

const QUESTION_TEXT: &str = "trefoil_path\0SELECT pg_catalog.unnest(pg_catalog.current_schemas(true)), pg_catalog.current_schema()\0\0\0";

/// The question for the search path, ended by a Sync or a Flush.
fn question(end: u8) -> Vec<u8> {
    [
        message(b'P', QUESTION_TEXT.as_bytes()),
        message(b'B', b"trefoil_path\0trefoil_path\0\0\0\0\0\0\0"),
        message(b'E', b"trefoil_path\0\0\0\0\0"),
        message(b'C', b"Ptrefoil_path\0"),
        message(b'C', b"Strefoil_path\0"),
        message(end, b""),
    ]
    .concat()
}

fn path_answer(schema: &str) -> Vec<u8> {
    let length = i32::try_from(schema.len()).unwrap().to_be_bytes();
    let value = [&length[..], schema.as_bytes()].concat();
    [
        message(b'1', b""),
        message(b'2', b""),
        message(b'D', &[b"\0\x02", &value[..], &value].concat()),
        message(b'C', b"SELECT 1\0"),
        message(b'3', b""),
        message(b'3', b""),
    ]
    .concat()
}

/// Sends what has to wait for the server, which is asked `expected`.
fn waits(state: &mut State, input: &[u8], expected: &[u8]) {
    let mut out = Vec::new();
    let (consumed, turn) = state.frontend(input, &mut out);
    assert!(consumed == 0 && matches!(turn, Ok(Turn::Blocked)));
    assert_eq!(out, expected);
}

#[test]
fn the_search_path_is_asked_for_once() {
    let mut state = state();
    let query = message(b'Q', b"by path\0");
    waits(&mut state, &query, &question(b'S'));
    let answer = [path_answer("a"), READY.to_vec()].concat();
    assert_eq!(reply(&mut state, &answer), b"");
    assert_eq!(send(&mut state, &query), query);
    assert_eq!(send(&mut state, &query), query);
    let done = [message(b'C', b"X\0"), READY.to_vec()].concat();
    assert_eq!(reply(&mut state, &done.repeat(2)), done.repeat(2));
    // Anew after what may have changed it.
    send(&mut state, &message(b'Q', b"moves\0"));
    reply(&mut state, &done);
    waits(&mut state, &query, &question(b'S'));
}

#[test]
fn inside_a_segment_the_path_is_asked_for_without_sync() {
    let mut state = state();
    let parse = message(b'P', b"s\0by path\0\0\0");
    send(&mut state, &message(b'P', b"\0x\0\0\0"));
    waits(&mut state, &parse, &message(b'H', b""));
    assert_eq!(reply(&mut state, &message(b'1', b"")), message(b'1', b""));
    waits(&mut state, &parse, &question(b'H'));
    assert_eq!(reply(&mut state, &path_answer("a")), b"");
    assert_eq!(send(&mut state, &parse), parse);
}

#[test]
fn a_plan_of_another_path_is_not_bound() {
    let mut state = state();
    let prepare = [message(b'P', b"s\0by path\0\0\0"), message(b'S', b"")].concat();
    waits(&mut state, &prepare, &question(b'S'));
    reply(&mut state, &[path_answer("a"), READY.to_vec()].concat());
    send(&mut state, &prepare);
    reply(&mut state, &[message(b'1', b""), READY.to_vec()].concat());
    let bind = message(b'B', b"\0s\0\0\0\0\0\0\0");
    send(&mut state, &[bind.clone(), message(b'S', b"")].concat());
    reply(&mut state, &[message(b'2', b""), READY.to_vec()].concat());
    send(&mut state, &message(b'Q', b"moves\0"));
    reply(&mut state, &[message(b'C', b"SET\0"), READY.to_vec()].concat());
    waits(&mut state, &bind, &question(b'S'));
    reply(&mut state, &[path_answer("b"), READY.to_vec()].concat());
    assert_eq!(send(&mut state, &bind), message(b'B', b"\0trefoil_refused\0\0\0\0\0\0\0"));
    let shown = reply(&mut state, &error());
    assert!(String::from_utf8_lossy(&shown).contains("cached plan must not change result type"));
}

#[test]
fn without_an_answer_the_statement_is_refused() {
    let mut state = state();
    let query = message(b'Q', b"by path\0");
    waits(&mut state, &query, &question(b'S'));
    assert_eq!(reply(&mut state, &[error(), READY.to_vec()].concat()), b"");
    assert_eq!(send(&mut state, &query), message(b'Q', b"trefoil_refused\0"));
}

#[test]
fn long_texts_are_analysed_one_at_a_time_and_hold_nothing_else_up() {
    let text = |mark: u8| [b"slow".to_vec(), vec![mark; 600 * 1024], vec![0]].concat();
    let passes = |state: &mut State, sent: &[u8]| {
        let mut out = Vec::new();
        let (consumed, turn) = state.frontend(sent, &mut out);
        // So much waits for the server then that no more is taken.
        assert!(matches!(turn, Ok(Turn::Blocked)) && consumed == sent.len() && out == sent);
    };
    let closed = GATE.lock().unwrap();
    std::thread::scope(|scope| {
        let other = |mark| {
            let sent = message(b'Q', &text(mark));
            scope.spawn(move || passes(&mut state(), &sent))
        };
        let others = [other(b'1'), other(b'2')];
        // A large value does not.
        let mut state = state();
        let sent = message(b'P', b"s\0plain\0\0\0");
        assert_eq!(send(&mut state, &sent), sent);
        let value = vec![b'x'; 600 * 1024];
        let length = i32::try_from(value.len()).unwrap().to_be_bytes();
        let bind = [&b"\0s\0\0\0\0\x01"[..], &length, &value, b"\0\0"].concat();
        passes(&mut state, &message(b'B', &bind));
        while ANALYSED.load(Ordering::SeqCst) == 0 {
            std::thread::yield_now();
        }
        std::thread::sleep(Duration::from_millis(50));
        assert_eq!(ANALYSED.load(Ordering::SeqCst), 1, "the other one waits");
        drop(closed);
        for other in others {
            other.join().unwrap();
        }
    });
    assert_eq!(ANALYSED.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_session_that_streams_gives_the_others_of_its_thread_their_turn() {
    let (application, client) = UnixStream::pair().unwrap();
    let (database, server) = UnixStream::pair().unwrap();
    let mut state = state();
    let query = message(b'Q', b"plain\0");
    assert_eq!(send(&mut state, &query), query);
    // As much as one session could treat without waiting.
    let rows = message(b'D', &[b'x'; 1000]).repeat(150);
    assert_eq!(database.try_write(&rows).unwrap(), rows.len());
    let mut session = Session::over([client, server].map(|socket| Side::new(Stream::Unix(socket))), state);
    let mut running = pin!(session.run());
    let mut shown = 0;
    while shown < rows.len() {
        yield_now().await;
        assert!(poll_fn(|context| Poll::Ready(running.as_mut().poll(context).is_pending())).await);
        let mut turn = vec![0; rows.len()];
        let count = application.try_read(&mut turn).unwrap_or(0);
        assert!(count <= 2 * 64 * 1024, "{count} bytes in one turn");
        shown += count;
    }
}
