//! Logs that were tampered with, each in one way.

use super::{Chain, Checkpoint, FileStart, Head, Kind, Report, Verifier};
use crate::signing::SigningKey;
use zeroize::Zeroizing;

const LOG: &str = "log-1";
const AT: &str = "2026-01-02T03:04:05.000006Z";

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
        let mut line = String::new();
        self.chain.append(AT, body, &mut line);
        lines.push(line);
    }

    fn checkpoint(&mut self, lines: &mut Vec<String>) {
        let jws = self.key.sign(&Checkpoint::of(self.head(), 1000)).unwrap();
        self.add(lines, &Checkpoint::body(&jws));
    }

    /// A file of a beginning, `number` records, and a checkpoint.
    fn file(&mut self, file: u64, number: u64) -> Vec<String> {
        let (mut lines, Chain { records, hash }) = (Vec::new(), self.chain);
        let start = FileStart { log: LOG.to_owned(), file, records, former: hash };
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
    let keys = [key(9).verifying_key().clone(), key(3).verifying_key().clone()];
    let mut verifier = Verifier::new(&keys, heads);
    for (number, lines) in files.iter().enumerate() {
        verifier.file(&format!("file-{number}"), lines.concat().as_bytes()).unwrap();
    }
    verifier.finish()
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
    assert_eq!((report.covered, report.covered_at, report.uncovered), (17, Some(1000), 0));
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
    let start = FileStart { log: LOG.to_owned(), file: 1, records: 0, former: [0; 32] };
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
    assert_eq!(first(&verify(&[Vec::new()])).unwrap().0, Kind::Unsigned);
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
