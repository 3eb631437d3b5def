//! The writer by itself, on a real file system.

use super::{Audit, AuditError, Options};
use serde_json::json;
use std::fs::{self, File, OpenOptions};
use std::io::{BufReader, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use trefoil_keys::audit::{Report, Verifier};
use trefoil_keys::signing::SigningKey;
use zeroize::Zeroizing;

fn key() -> SigningKey {
    SigningKey::from_seed(Zeroizing::new([3; 32])).unwrap()
}

fn options(directory: &Path) -> Options {
    Options {
        file: directory.join("audit.log"),
        blocking: true,
        max_bytes: 1 << 20,
        keep: 0,
        checkpoint_records: 10,
        checkpoint_interval: Duration::from_secs(3600),
    }
}

fn open(options: &Options) -> Result<Arc<Audit>, AuditError> {
    let sign = |checkpoint: &_| key().sign(checkpoint).map_err(|error| error.to_string());
    Audit::open(options.clone(), &json!({ "version": "test" }), Box::new(sign))
}

/// Records so many events and waits until all are durable.
fn record(audit: &Audit, number: u64) {
    let mut last = None;
    for value in 0..number {
        last = audit.offer(format!("\"event\":\"test\",\"value\":{value}"));
    }
    let mut progress = audit.progress();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let durable = progress.wait_for(|progress| progress.includes(last.unwrap()));
    drop(runtime.block_on(durable).unwrap());
}

/// The files in their order.
fn files(options: &Options) -> Vec<PathBuf> {
    let directory = options.file.parent().unwrap();
    let mut files: Vec<PathBuf> =
        fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let active = files.remove(0);
    assert_eq!(active, options.file);
    files.push(active);
    files
}

fn verify(options: &Options) -> Report {
    let keys = [key().verifying_key().clone()];
    let mut verifier = Verifier::new(&keys, Vec::new());
    for file in files(options) {
        let name = file.display().to_string();
        verifier.file(&name, BufReader::new(File::open(file).unwrap())).unwrap();
    }
    let report = verifier.finish();
    assert_eq!(report.breaks, []);
    report
}

#[test]
fn a_log_goes_on_where_it_ended_and_every_stop_is_covered() {
    let directory = tempfile::tempdir().unwrap();
    let options = options(directory.path());
    let mut last = 0;
    for run in 1..=3 {
        let audit = open(&options).unwrap();
        record(&audit, 25);
        audit.stop();
        let report = verify(&options);
        assert_eq!((report.uncovered, report.first, report.files.len()), (0, 1, 1), "run {run}");
        assert!(report.last >= last + 25 && report.checkpoints >= 2 * run);
        last = report.last;
        assert_eq!(audit.head().records, last);
    }
}

#[test]
fn full_files_follow_each_other_and_old_ones_go() {
    let directory = tempfile::tempdir().unwrap();
    let options = Options { max_bytes: 2_000, ..options(directory.path()) };
    let audit = open(&options).unwrap();
    for _ in 0..20 {
        record(&audit, 20);
    }
    audit.stop();
    let report = verify(&options);
    let all = report.files.len();
    assert!(all > 10 && report.uncovered == 0, "{report:?}");

    let options = Options { keep: 3, ..options };
    let audit = open(&options).unwrap();
    for _ in 0..10 {
        record(&audit, 20);
    }
    audit.stop();
    let report = verify(&options);
    assert_eq!(report.files.len(), 3);
    assert!(report.first > 1);
}

#[test]
fn a_torn_last_line_is_taken_away_and_recorded() {
    let directory = tempfile::tempdir().unwrap();
    let options = options(directory.path());
    let audit = open(&options).unwrap();
    record(&audit, 3);
    audit.stop();
    let torn = "{\"n\":9,\"at\":\"2026-01";
    OpenOptions::new().append(true).open(&options.file).unwrap().write_all(torn.as_bytes()).unwrap();
    open(&options).unwrap().stop();
    verify(&options);
    let text = fs::read_to_string(&options.file).unwrap();
    let told = format!("\"event\":\"recovered\",\"torn_bytes\":{}", torn.len());
    assert!(text.contains(&told) && !text.contains(torn), "{text}");
}

#[test]
fn a_change_of_files_that_was_interrupted_is_finished() {
    let directory = tempfile::tempdir().unwrap();
    let options = options(directory.path());
    let audit = open(&options).unwrap();
    record(&audit, 3);
    audit.stop();
    fs::rename(&options.file, directory.path().join("audit.log.000001")).unwrap();
    fs::write(directory.path().join("audit.log.new"), "half a line").unwrap();
    open(&options).unwrap().stop();
    let report = verify(&options);
    assert_eq!(report.files.iter().map(|file| file.number).collect::<Vec<_>>(), [Some(1), Some(2)]);
}

#[test]
fn what_is_no_log_or_another_process_writes_is_not_opened() {
    let directory = tempfile::tempdir().unwrap();
    let options = options(directory.path());
    let audit = open(&options).unwrap();
    assert!(matches!(open(&options), Err(AuditError::Locked(_))));
    audit.stop();
    drop(audit);
    let whole = fs::read_to_string(&options.file).unwrap();
    for text in ["", "something else\n", &whole[1..], &(whole.clone() + "no record\n")] {
        fs::write(&options.file, text).unwrap();
        assert!(matches!(open(&options), Err(AuditError::Damaged(_))), "{text}");
        assert_eq!(fs::read_to_string(&options.file).unwrap(), text, "left as it is");
    }
}

/// Names the directory to the process that the next test starts: itself, for the limit holds for all of it.
const DIRECTORY: &str = "TREFOIL_TEST_AUDIT";

#[test]
fn what_has_no_room_is_counted_and_the_number_recorded() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Some(directory) = std::env::var_os(DIRECTORY).map(PathBuf::from) else {
        let directory = tempfile::tempdir().unwrap();
        // The signal that comes with the error would end the process.
        let output = std::process::Command::new("env")
            .arg("--ignore-signal=XFSZ")
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", "audit::tests::what_has_no_room_is_counted_and_the_number_recorded"])
            .env(DIRECTORY, directory.path())
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        return;
    };
    let options = Options { max_bytes: 1 << 30, ..options(&directory) };
    let audit = open(&options).unwrap();
    let maximum = getrlimit(Resource::Fsize).maximum;
    setrlimit(Resource::Fsize, Rlimit { current: Some(0), maximum }).unwrap();
    let large = format!("\"event\":\"test\",\"text\":\"{}\"", "x".repeat(1 << 20));
    audit.offer(large.clone()).unwrap();
    while audit.fault().is_none() {
        std::thread::sleep(Duration::from_millis(5));
    }
    let kept = (0..20).filter(|_| audit.offer(large.clone()).is_some()).count();
    assert_eq!(kept, 7, "8 MiB wait at most");
    assert!(audit.progress().borrow().faulty);
    setrlimit(Resource::Fsize, Rlimit { current: maximum, maximum }).unwrap();
    while audit.fault().is_some() {
        std::thread::sleep(Duration::from_millis(5));
    }
    audit.stop();
    verify(&options);
    let text = fs::read_to_string(&options.file).unwrap();
    assert_eq!(text.matches("\"event\":\"test\"").count(), 1 + kept);
    assert!(text.contains("\"event\":\"lost\",\"records\":13"));
}

#[test]
fn many_write_at_once_and_nothing_is_lost() {
    let directory = tempfile::tempdir().unwrap();
    let options = options(directory.path());
    let audit = open(&options).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| record(&audit, 200));
        }
    });
    audit.stop();
    let report = verify(&options);
    let text = fs::read_to_string(&options.file).unwrap();
    assert_eq!(text.matches("\"event\":\"test\"").count(), 1600);
    assert_eq!((report.uncovered, text.matches("\"event\":\"lost\"").count()), (0, 0));
}
