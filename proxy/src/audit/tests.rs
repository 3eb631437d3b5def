//! The writer by itself, on a real file system.

use super::file::LogFile;
use super::writer::Writer;
use super::{Audit, AuditError, Common, Inbox, Options, body};
use serde_json::json;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{BufReader, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::watch;
use trefoil_keys::audit::{Checkpoint, Report, Verifier, seconds};
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

fn sign(checkpoint: &Checkpoint) -> Result<String, String> {
    key().sign(checkpoint).map_err(|error| error.to_string())
}

fn open(options: &Options) -> Result<Arc<Audit>, AuditError> {
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
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let report = verifier.finish(now);
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

#[test]
fn checkpoints_come_as_often_as_the_log_says() {
    let directory = tempfile::tempdir().unwrap();
    let options = Options { checkpoint_records: 3, ..options(directory.path()) };
    let audit = open(&options).unwrap();
    // Records of one write, too.
    record(&audit, 100);
    audit.stop();
    let report = verify(&options);
    assert!(report.checkpoints >= 34, "{report:?}");
    let text = fs::read_to_string(&options.file).unwrap();
    let start = text.lines().nth(1).unwrap();
    assert!(start.contains("\"checkpoint_records\":3,\"checkpoint_seconds\":3600"), "{start}");

    let refused = |_: &Checkpoint| Err("no".to_owned());
    let other = Options { file: directory.path().join("other.log"), ..options };
    let opened = Audit::open(other, &json!({}), Box::new(refused));
    assert!(matches!(opened, Err(AuditError::Unsigned(_))), "nothing signed, nothing promised");
}

#[test]
fn a_file_that_is_not_the_proxys_alone_is_not_written() {
    let directory = tempfile::tempdir().unwrap();
    let options = options(directory.path());
    open(&options).unwrap().stop();
    let whole = fs::read_to_string(&options.file).unwrap();
    let mode = |mode| fs::set_permissions(&options.file, Permissions::from_mode(mode)).unwrap();
    let refused = |word: &str| {
        let error = open(&options).err().unwrap().to_string();
        assert!(error.contains(word) && error.contains("audit.log"), "{error}");
        assert_eq!(fs::read_to_string(&options.file).unwrap(), whole);
    };
    for exposed in [0o640, 0o604, 0o620, 0o602] {
        mode(exposed);
        refused("chmod 600");
    }
    mode(0o600);
    let elsewhere = directory.path().join("elsewhere");
    fs::rename(&options.file, &elsewhere).unwrap();
    symlink(&elsewhere, &options.file).unwrap();
    refused("symbolic link");
    fs::remove_file(&options.file).unwrap();
    fs::rename(&elsewhere, &options.file).unwrap();
    if std::os::unix::fs::chown(&options.file, Some(65_534), None).is_ok() {
        refused("belongs to user 65534");
        std::os::unix::fs::chown(&options.file, Some(0), None).unwrap();
    }
    open(&options).unwrap().stop();
}

/// What is logged while this runs.
fn logged(run: impl FnOnce()) -> String {
    struct Lines(Arc<Mutex<Vec<u8>>>);
    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let lines = Arc::new(Mutex::new(Vec::new()));
    let own = Arc::clone(&lines);
    let subscriber =
        tracing_subscriber::fmt().with_writer(move || Lines(Arc::clone(&own))).with_ansi(false).finish();
    tracing::subscriber::with_default(subscriber, run);
    String::from_utf8(lines.lock().unwrap().clone()).unwrap()
}

/// A log whose writer does not run yet.
fn unstarted(options: &Options) -> (Audit, Writer) {
    let (file, _) = LogFile::open(&options.file, options.promise()).unwrap();
    let common = Arc::new(Common {
        inbox: Mutex::default(),
        filled: Condvar::new(),
        progress: watch::channel(super::Progress::default()).0,
        head: Mutex::new(file.head()),
        fault: Mutex::default(),
    });
    let audit = Audit { common: Arc::clone(&common), blocking: true, writer: Mutex::default() };
    (audit, Writer::new(common, file, options.clone(), Box::new(sign)))
}

#[test]
fn a_checkpoint_that_is_late_by_the_wall_clock_alone_comes_within_seconds() {
    let directory = tempfile::tempdir().unwrap();
    // As if the clock were set forward, or the machine slept, after the record: by as much as is promised, and
    // by two seconds less. Nothing else comes.
    let at = "2026-01-02T03:04:05Z";
    let ago =
        SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs() - seconds(at).unwrap();
    for left in [0, 2] {
        let checkpoint_interval = Duration::from_secs(ago + left);
        let options = Options { checkpoint_interval, ..options(directory.path()) };
        let (audit, writer) = unstarted(&options);
        let entry = super::Entry { at: at.to_owned(), body: body("test", &json!({ "left": left })) };
        super::locked(&audit.common.inbox).entries.push(entry);
        let signs = || fs::read_to_string(&options.file).unwrap().matches("\"jws\"").count();
        let (before, begun) = (signs(), Instant::now());
        let thread = std::thread::spawn(move || writer.run());
        while signs() == before {
            assert!(begun.elapsed() < Duration::from_secs(20), "{left}");
            std::thread::sleep(Duration::from_millis(20));
        }
        audit.stop();
        thread.join().unwrap();
    }
}

#[test]
fn that_no_further_file_can_be_begun_is_logged_once_and_so_is_its_end() {
    let directory = tempfile::tempdir().unwrap();
    let options = Options { max_bytes: 100, ..options(directory.path()) };
    let (audit, mut writer) = unstarted(&options);
    let common = Arc::clone(&audit.common);
    audit.offer(body("start", &json!({ "checkpoint_records": 10, "checkpoint_seconds": 3600 })));
    let obstacle = directory.path().join("audit.log.new");
    fs::create_dir(&obstacle).unwrap();
    let told = logged(|| {
        writer.first().unwrap();
        for _ in 0..3 {
            audit.offer(body("test", &json!({})));
            writer.first().unwrap();
        }
    });
    assert_eq!(told.matches("no further file").count(), 1, "{told}");
    fs::remove_dir(&obstacle).unwrap();
    let told = logged(|| {
        for _ in 0..3 {
            audit.offer(body("test", &json!({})));
            writer.first().unwrap();
        }
    });
    assert_eq!((told.matches("begun again").count(), told.matches("ERROR").count()), (1, 0), "{told}");
    let Inbox { entries, .. } = &*common.inbox.lock().unwrap();
    assert!(entries.is_empty());
    drop(writer);
    assert_eq!(verify(&options).files.len(), 4);
}
