//! An audit log, its files with a 0 between, as `trefoil-admin audit verify` reads it from a machine that
//! somebody else may have written to. What a report without a break says is covered is what the proxy wrote.

use std::sync::LazyLock;
use trefoil_keys::audit::{Chain, Checkpoint, FileStart, Head, Promise, Verifier};
use trefoil_keys::signing::{SigningKey, VerifyingKey};
use zeroize::Zeroizing;

const LOG: &str = "log-1";
/// When all of it was written, in seconds since 1970: 2026-01-02T03:04:05Z.
const WRITTEN_AT: u64 = 1_767_323_045;
const PROMISE: Promise = Promise { checkpoint_records: 100, checkpoint_seconds: 60 };

/// The lines of the only log that was ever signed, in order, as the files that they stand in.
static WRITTEN: LazyLock<(Vec<Vec<String>>, Head, [VerifyingKey; 1])> = LazyLock::new(|| {
    let key = SigningKey::from_seed(Zeroizing::new([3; 32])).expect("a seed");
    let mut chain = Chain::default();
    let files = (1..=3).map(|file| {
        let mut lines = Vec::new();
        let mut add = |chain: &mut Chain, body: &str| {
            let mut line = String::new();
            chain.append("2026-01-02T03:04:05.000006Z", body, &mut line);
            lines.push(line);
        };
        let (log, records, former) = (LOG.to_owned(), chain.records, chain.hash);
        let start = FileStart { log, file, records, former, promise: PROMISE };
        add(&mut chain, &start.body());
        for record in 0..file {
            add(&mut chain, &format!("\"event\":\"access\",\"rows\":{record}"));
        }
        let head = Head { log: LOG.to_owned(), records: chain.records, hash: chain.hash };
        let jws = key.sign(&Checkpoint::of(head, WRITTEN_AT)).expect("its claims");
        add(&mut chain, &Checkpoint::body(&jws));
        lines
    });
    let files: Vec<_> = files.collect();
    let head = Head { log: LOG.to_owned(), records: chain.records, hash: chain.hash };
    (files, head, [key.verifying_key().clone()])
});

/// Verifies a log; whether it is whole.
pub fn run(data: &[u8]) -> bool {
    let (written, head, keys) = &*WRITTEN;
    let mut verifier = Verifier::new(keys, vec![head.clone()]);
    for (number, file) in data.split(|byte| *byte == 0).enumerate() {
        verifier.file(&number.to_string(), file).expect("it is in memory");
    }
    let report = verifier.finish(WRITTEN_AT);
    let broken = report.breaks.iter().any(|found| found.file.is_empty() || found.record == 0);
    assert!(!broken && report.uncovered <= report.last, "a break without a place");
    if !report.breaks.is_empty() {
        return false;
    }
    assert!(report.log == LOG && report.last >= head.records, "its head is missing");
    let mut lines = data.split(|byte| *byte == b'\n' || *byte == 0).filter(|line| !line.is_empty());
    let signed = written.iter().flatten().map(|line| line.trim_end().as_bytes());
    let numbered = (1..).zip(signed).filter(|(number, _)| (report.first..=report.covered).contains(number));
    for (number, line) in numbered {
        assert_eq!(lines.next(), Some(line), "record {number} was changed");
    }
    true
}

/// The log, and without its first files, which may be gone.
pub fn seeds() -> Vec<Vec<u8>> {
    let (files, ..) = &*WRITTEN;
    let files: Vec<String> = files.iter().map(|lines| lines.concat()).collect();
    (0..files.len()).map(|first| files[first..].join("\0").into_bytes()).collect()
}
