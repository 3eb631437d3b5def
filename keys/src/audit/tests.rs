//! Logs that were tampered with, each in one way.

use super::verify::GRACE;
use super::{Chain, Checkpoint, FileStart, Head, Kind, Late, Promise, Report, Verifier, seconds};
use crate::signing::SigningKey;
use zeroize::Zeroizing;

const LOG: &str = "log-1";
const AT: &str = "2026-01-02T03:04:05.000006Z";
/// The same in seconds since 1970.
const SIGNED: u64 = 1_767_323_045;
const PROMISE: Promise = Promise { checkpoint_records: 10, checkpoint_seconds: 60 };

fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed(Zeroizing::new([seed; 32])).unwrap()
}

/// Writes records as the proxy does.
struct Writer {
    chain: Chain,
    key: SigningKey,
}

impl Writer {
    fn new() -> Self {
        Self { chain: Chain::default(), key: key(3) }
    }

    fn head(&self) -> Head {
        Head { log: LOG.to_owned(), records: self.chain.records, hash: self.chain.hash }
    }

    fn add(&mut self, lines: &mut Vec<String>, body: &str) {
        self.add_at(lines, AT, body);
    }

    fn add_at(&mut self, lines: &mut Vec<String>, at: &str, body: &str) {
        let mut line = String::new();
        self.chain.append(at, body, &mut line);
        lines.push(line);
    }

    fn checkpoint(&mut self, lines: &mut Vec<String>) {
        let jws = self.key.sign(&Checkpoint::of(self.head(), SIGNED)).unwrap();
        self.add(lines, &Checkpoint::body(&jws));
    }

    /// A file of a beginning, `number` records, and a checkpoint.
    fn file(&mut self, file: u64, number: u64) -> Vec<String> {
        let (mut lines, Chain { records, hash }) = (Vec::new(), self.chain);
        let start = FileStart { log: LOG.to_owned(), file, records, former: hash, promise: PROMISE };
        self.add(&mut lines, &start.body());
        for record in 0..number {
            self.add(&mut lines, &format!("\"event\":\"access\",\"value\":{record}"));
        }
        self.checkpoint(&mut lines);
        lines
    }
}

/// Three files; records 1 to 6, 7 to 12, 13 to 18.
fn log() -> Vec<Vec<String>> {
    let mut writer = Writer::new();
    (1..=3).map(|number| writer.file(number, 4)).collect()
}

fn verify_with(files: &[Vec<String>], heads: Vec<Head>) -> Report {
    verify_at(files, heads, SIGNED)
}

fn verify_at(files: &[Vec<String>], heads: Vec<Head>, now: u64) -> Report {
    let keys = [key(9).verifying_key().clone(), key(3).verifying_key().clone()];
    let mut verifier = Verifier::new(&keys, heads);
    for (number, lines) in files.iter().enumerate() {
        verifier.file(&format!("file-{number}"), lines.concat().as_bytes()).unwrap();
    }
    verifier.finish(now)
}

fn verify(files: &[Vec<String>]) -> Report {
    verify_with(files, Vec::new())
}

/// The first break, as kind, file, line and number.
fn first(report: &Report) -> Option<(Kind, &str, u64, u64)> {
    report.breaks.first().map(|found| (found.kind.clone(), found.file.as_str(), found.line, found.record))
}

#[test]
fn a_log_as_it_was_written_is_whole() {
    let report = verify(&log());
    assert_eq!((report.breaks.len(), report.log.as_str()), (0, LOG));
    assert_eq!((report.first, report.last, report.checkpoints), (1, 18, 3));
    assert_eq!((report.covered, report.covered_at, report.uncovered), (17, Some(SIGNED), 0));
    let numbers: Vec<_> = report.files.iter().map(|file| (file.number, file.records)).collect();
    assert_eq!(numbers, [(Some(1), 6), (Some(2), 6), (Some(3), 6)]);
}

#[test]
fn files_that_were_taken_away_at_the_front_are_told_by_number() {
    let report = verify(&log()[1..]);
    assert_eq!((report.breaks.len(), report.first, report.last), (0, 7, 18));
    assert_eq!(report.files[0].number, Some(2));
}

#[test]
fn whatever_is_changed_removed_reordered_or_inserted_is_found_where_it_is() {
    type Tamper = fn(&mut Vec<Vec<String>>);
    let tampered: &[(&str, Tamper, Kind, &str, u64, u64)] = &[
        (
            "a member",
            |log| log[1][2] = log[1][2].replace("\"value\":1", "\"value\":7"),
            Kind::Changed,
            "file-1",
            3,
            9,
        ),
        ("a time", |log| log[0][1] = log[0][1].replace("2026", "2025"), Kind::Changed, "file-0", 2, 2),
        (
            "a number",
            |log| log[0][2] = log[0][2].replace("\"n\":3", "\"n\":30"),
            Kind::Removed,
            "file-0",
            3,
            3,
        ),
        (
            "the last record",
            |log| log[2][5] = log[2][5].replace("2026", "2025"),
            Kind::Changed,
            "file-2",
            6,
            18,
        ),
        (
            "a beginning",
            |log| log[1][0] = log[1][0].replace("\"file\":2", "\"file\":4"),
            Kind::Changed,
            "file-1",
            1,
            7,
        ),
        ("a line emptied", |log| log[0][3] = "\n".to_owned(), Kind::Changed, "file-0", 4, 4),
        (
            "white space",
            |log| log[0][3] = log[0][3].replace(",\"value\"", ", \"value\""),
            Kind::Changed,
            "file-0",
            4,
            4,
        ),
        (
            "a hash",
            |log| log[0][3] = log[0][4][log[0][4].len() - 46..].to_owned() + &log[0][3],
            Kind::Changed,
            "file-0",
            4,
            4,
        ),
        ("one removed", |log| drop(log[1].remove(3)), Kind::Removed, "file-1", 4, 10),
        ("three removed", |log| drop(log[1].drain(1..4)), Kind::Removed, "file-1", 2, 8),
        ("a checkpoint removed", |log| drop(log[0].remove(5)), Kind::Removed, "file-1", 1, 6),
        ("the end of a file", |log| log[0].truncate(3), Kind::Removed, "file-1", 1, 4),
        ("a beginning removed", |log| drop(log[1].remove(0)), Kind::NoBeginning, "file-1", 1, 7),
        ("two exchanged", |log| log[1].swap(2, 3), Kind::Reordered, "file-1", 3, 9),
        (
            "one moved to the end",
            |log| {
                let line = log[0].remove(1);
                log[2].push(line)
            },
            Kind::Reordered,
            "file-0",
            2,
            2,
        ),
        (
            "one twice",
            |log| {
                let line = log[1][3].clone();
                log[1].insert(4, line)
            },
            Kind::Inserted,
            "file-1",
            5,
            11,
        ),
        (
            "one of another place",
            |log| {
                let line = log[0][2].clone();
                log[2].insert(2, line)
            },
            Kind::Inserted,
            "file-2",
            3,
            15,
        ),
        ("a file removed", |log| drop(log.remove(1)), Kind::Removed, "file-1", 1, 7),
        ("two files exchanged", |log| log.swap(1, 2), Kind::Reordered, "file-1", 1, 7),
        (
            "a file twice",
            |log| {
                let file = log[1].clone();
                log.insert(2, file)
            },
            Kind::Inserted,
            "file-2",
            1,
            13,
        ),
        ("a file cut within a line", |log| log[0][5].truncate(40), Kind::CutOff, "file-0", 6, 6),
    ];
    for (what, tamper, kind, file, line, record) in tampered {
        let mut log = log();
        tamper(&mut log);
        let report = verify(&log);
        assert_eq!(
            first(&report),
            Some((kind.clone(), *file, *line, *record)),
            "{what}: {:?}",
            report.breaks
        );
    }
}

#[test]
fn every_single_byte_counts() {
    let log = log();
    for line in 0..log[1].len() {
        for at in 0..log[1][line].len() - 1 {
            let mut tampered = log.clone();
            let mut bytes = tampered[1][line].clone().into_bytes();
            bytes[at] ^= 1;
            let Ok(changed) = String::from_utf8(bytes) else { continue };
            tampered[1][line] = changed;
            let report = verify(&tampered);
            let found = report.breaks.first().unwrap_or_else(|| panic!("byte {at} of line {line}"));
            assert_eq!(found.file, "file-1", "byte {at} of line {line}");
        }
    }
}

#[test]
fn a_log_written_anew_lacks_the_proxys_signature() {
    // The record changed and the chain made to fit, as whoever may write the files can.
    let mut forger = Writer::new();
    let mut file = Vec::new();
    let original = log().remove(0);
    let start = FileStart { log: LOG.to_owned(), file: 1, records: 0, former: [0; 32], promise: PROMISE };
    forger.add(&mut file, &start.body());
    forger.add(&mut file, "\"event\":\"access\",\"value\":\"another\"");
    let mut with_old = file.clone();
    let mut old = Writer { chain: forger.chain, key: key(3) };
    let jws = original[5].split("\"jws\":\"").nth(1).unwrap().split('"').next().unwrap();
    old.add(&mut with_old, &Checkpoint::body(jws));
    assert_eq!(first(&verify(&[with_old])), Some((Kind::CheckpointMismatch, "file-0", 3, 3)));

    let mut own = Writer { chain: forger.chain, key: key(5) };
    let mut with_own = file.clone();
    own.checkpoint(&mut with_own);
    assert_eq!(first(&verify(&[with_own])), Some((Kind::CheckpointForged, "file-0", 3, 3)));

    // Without any checkpoint nothing covers it; nor is nothing a log.
    let report = verify(&[file]);
    assert_eq!((report.covered, report.uncovered), (0, 2));
    assert_eq!(first(&report).unwrap().0, Kind::Unsigned);
    assert!(verify(&[Vec::new()]).breaks.iter().any(|found| found.kind == Kind::Unsigned));
}

#[test]
fn a_file_without_a_whole_first_record_is_broken_wherever_it_stands() {
    for at in 0..=3 {
        for begun in ["", "{\"n\":19,\"at\":\"2026-01"] {
            let mut log = log();
            log.insert(at, vec![begun.to_owned()]);
            let report = verify(&log);
            let name = format!("file-{at}");
            let told =
                report.breaks.iter().map(|found| (found.kind.clone(), found.file.as_str(), found.line));
            let due = (Kind::NoBeginning, name.as_str(), 1);
            assert!(told.into_iter().any(|found| found == due), "{at}: {report:?}");
        }
    }
}

#[test]
fn what_is_longer_than_any_record_is_no_end_of_a_file() {
    let mut log = log();
    log[2].insert(3, "x".repeat(4 << 20));
    let report = verify(&log);
    assert_eq!((first(&report), report.torn), (Some((Kind::Changed, "file-2", 4, 16)), false));
}

#[test]
fn a_checkpoint_of_another_log_or_place_does_not_fit() {
    let mut writer = Writer::new();
    let mut file = writer.file(1, 1);
    let other = Head { log: "log-2".to_owned(), ..writer.head() };
    let jws = writer.key.sign(&Checkpoint::of(other, 1)).unwrap();
    writer.add(&mut file, &Checkpoint::body(&jws));
    assert_eq!(first(&verify(&[file])), Some((Kind::CheckpointMismatch, "file-0", 4, 4)));
}

#[test]
fn an_end_that_is_cut_off_shows_by_what_was_noted_elsewhere() {
    let whole = log();
    let mut writer = Writer::new();
    for number in 1..=3 {
        writer.file(number, 4);
    }
    let head = writer.head();
    assert_eq!(verify_with(&whole, vec![head.clone()]).breaks, []);
    for cut in [&whole[..2], &[whole[0].clone(), whole[1].clone(), whole[2][..4].to_vec()]] {
        // The files alone tell of records without a checkpoint at most.
        assert_eq!(verify(cut).breaks, []);
        let report = verify_with(cut, vec![head.clone()]);
        assert_eq!(report.breaks[0].kind, Kind::HeadMissing);
        assert_eq!(report.breaks[0].found, Some(18));
    }
    assert_eq!(verify(&[whole[0].clone(), whole[1][..4].to_vec()]).uncovered, 4);
    // What was noted of a file that has been taken away since says nothing.
    let old = Head { log: LOG.to_owned(), records: 3, hash: [1; 32] };
    assert_eq!(verify_with(&whole[1..], vec![old.clone()]).breaks, []);
    assert_eq!(verify_with(&whole, vec![old]).breaks[0].kind, Kind::HeadMissing);
}

#[test]
fn a_torn_last_line_is_told_apart() {
    let mut torn = log();
    let cut = torn[2][5].len() / 2;
    torn[2][5].truncate(cut);
    let report = verify(&torn);
    assert_eq!((report.breaks.len(), report.torn, report.last, report.uncovered), (0, true, 17, 5));
}

/// A member of `Event::Start`, and whatever else.
const START: &str = "\"event\":\"start\",\"checkpoint_records\":10,\"checkpoint_seconds\":60";

/// `2026-01-02T03:04:05Z` and so many seconds.
fn later(by: u64) -> String {
    assert_eq!(seconds(AT), Some(SIGNED));
    format!("2026-01-02T03:{:02}:{:02}.5Z", 4 + (5 + by) / 60, (5 + by) % 60)
}

#[test]
fn a_tail_that_is_written_anew_without_its_checkpoints_is_found_out() {
    // More records than lie between two checkpoints, or later ones, after the first checkpoint.
    let whole = {
        let mut writer = Writer::new();
        (writer.file(1, 2), writer.chain)
    };
    let forged = |times: &[u64]| {
        let mut writer = Writer { chain: whole.1, key: key(3) };
        let mut file = whole.0.clone();
        for by in times {
            writer.add_at(&mut file, &later(*by), "\"event\":\"access\"");
        }
        (file, writer)
    };
    let broken = |files: &[Vec<String>], now: u64| -> Vec<(Kind, u64, Option<u64>)> {
        let breaks = verify_at(files, Vec::new(), now).breaks;
        breaks.into_iter().map(|found| (found.kind, found.line, found.found)).collect()
    };
    // What the proxy itself may leave at any moment.
    for fits in [&[0; 9][..], &[59; 9], &[1, 30, 59], &[59, 60]] {
        assert_eq!(broken(&[forged(fits).0], SIGNED + 60), [], "{fits:?}");
    }
    assert_eq!(broken(&[forged(&[0; 11]).0], SIGNED), [(Kind::Overdue, 15, None)], "too many");
    assert_eq!(broken(&[forged(&[1, 60, 61, 62]).0], SIGNED + 60), [(Kind::Overdue, 7, None)], "too late");
    // The end of the log, by the time of verification.
    let ends = [(Kind::Overdue, 0, Some(5))];
    for (times, now) in [(&[1][..], 60 + GRACE), (&[0; 10], GRACE + 1), (&[100], 101 + GRACE)] {
        assert_eq!(broken(&[forged(times).0], SIGNED + now), ends, "{times:?}");
    }
    assert_eq!(broken(&[forged(&[100]).0], SIGNED), ends, "a record of the future");
    assert_eq!(broken(&[forged(&[1]).0], SIGNED + 59 + GRACE), []);
    assert_eq!(broken(std::slice::from_ref(&whole.0), SIGNED + 1_000_000), [], "nothing is unsigned");

    // The end of a file, and what says that less is promised from here on.
    let (file, mut writer) = forged(&[1]);
    let next = writer.file(2, 1);
    assert_eq!(broken(&[file, next], SIGNED), [(Kind::Overdue, 1, None)]);
    let (mut file, mut writer) = forged(&[]);
    let less = START.replace(":10", ":100000").replace(":60", ":100000");
    writer.add(&mut file, &less);
    (0..20).for_each(|_| writer.add(&mut file, "\"event\":\"access\""));
    assert_eq!(broken(&[file], SIGNED), [(Kind::Overdue, 6, None)]);
}

#[test]
fn starts_and_stops_are_signed_at_once_and_what_a_killed_proxy_left_is_told() {
    let mut writer = Writer::new();
    let mut file = writer.file(1, 1);
    writer.add(&mut file, "\"event\":\"stop\"");
    writer.checkpoint(&mut file);
    writer.add_at(&mut file, &later(90), START);
    writer.checkpoint(&mut file);
    writer.add(&mut file, "\"event\":\"access\"");
    writer.add_at(&mut file, &later(70), "\"event\":\"access\"");
    // Killed, and started again.
    writer.add_at(&mut file, &later(100), "\"event\":\"recovered\"");
    writer.add_at(&mut file, &later(100), START);
    writer.checkpoint(&mut file);
    let last = writer.chain;
    let report = verify_at(&[file.clone()], Vec::new(), SIGNED + 1000);
    assert_eq!((report.breaks, report.late), (vec![], vec![Late { first: 8, last: 10 }]));
    // A log's beginning.
    let (mut writer, mut begun) = (Writer::new(), Vec::new());
    let begin = FileStart { log: LOG.to_owned(), file: 1, records: 0, former: [0; 32], promise: PROMISE };
    writer.add(&mut begun, &begin.body());
    writer.add(&mut begun, START);
    writer.checkpoint(&mut begun);
    let report = verify(&[begun]);
    assert_eq!((report.breaks, report.late), (vec![], vec![]));

    for event in ["\"event\":\"stop\"", START] {
        let (mut file, mut writer) = (file.clone(), Writer { chain: last, key: key(3) });
        writer.add(&mut file, event);
        writer.add(&mut file, "\"event\":\"access\"");
        let report = verify(&[file.clone()]);
        assert_eq!(first(&report), Some((Kind::Overdue, "file-0", 14, 14)), "{event}");
        file.pop();
        assert_eq!(verify(&[file.clone()]).breaks, []);
        let report = verify_at(&[file], Vec::new(), SIGNED + GRACE + 1);
        assert_eq!(report.breaks[0].kind, Kind::Overdue, "{event} at the end");
    }
}

#[test]
fn all_that_was_written_anew_before_a_start_is_named_however_it_looks() {
    const RECOVERED: &str = "\"event\":\"recovered\",\"torn_bytes\":1";
    let begins =
        FileStart { log: LOG.to_owned(), file: 2, records: 5, former: [0; 32], promise: PROMISE }.body();
    let late = |before: &[&str], start: &[&str]| {
        let mut writer = Writer::new();
        // Records 1 to 4.
        let mut file = writer.file(1, 2);
        before.iter().chain(start).for_each(|body| writer.add(&mut file, body));
        writer.checkpoint(&mut file);
        writer.add(&mut file, "\"event\":\"access\"");
        writer.checkpoint(&mut file);
        let report = verify(&[file]);
        assert_eq!(report.breaks, [], "{before:?}");
        report.late.iter().map(|late| (late.first, late.last)).collect::<Vec<_>>()
    };
    assert_eq!(late(&[], &[START]), [], "nothing was left");
    for forged in [
        &[START][..],
        &[START, START, START],
        &[RECOVERED],
        &[RECOVERED, RECOVERED],
        &[RECOVERED, START],
        &[START, RECOVERED, START],
        &["\"event\":\"access\"", START],
        &[&begins],
    ] {
        let all = u64::try_from(forged.len()).unwrap();
        assert_eq!(late(forged, &[START]), [(5, 4 + all)], "{forged:?}");
        assert_eq!(late(forged, &[RECOVERED, START]), [(5, 5 + all)], "{forged:?}");
        // A proxy that signs after each record.
        assert_eq!(late(forged, &[RECOVERED]), [(5, 4 + all)], "{forged:?}");
    }
    assert_eq!(late(&["\"event\":\"access\""], &[]), [], "no start");
}
