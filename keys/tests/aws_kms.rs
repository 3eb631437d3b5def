//! Stores that are locked by a key of AWS KMS, against an emulator of the service (moto).
#![cfg(feature = "aws-kms")]
#![allow(clippy::unwrap_used, reason = "these are tests")]

use aws_config::{BehaviorVersion, Region};
use aws_sdk_kms::Client;
use redb::{Database, ReadableDatabase, TableDefinition};
use std::fs::OpenOptions;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use trefoil_keys::lock::Lock;
use trefoil_keys::store::{Store, StoreError};

/// URL of the emulator, for the process that this test starts: itself, in the role of the tests below,
/// because where the SDK looks for credentials is its environment.
const EMULATOR: &str = "TREFOIL_TEST_KMS";
const REGION: &str = "eu-central-1";

#[test]
fn with_an_emulator_of_kms() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = Command::new(source.join("../deploy/python.sh")).output().unwrap();
    assert!(python.status.success(), "{}", String::from_utf8_lossy(&python.stderr));
    let mut emulator = Command::new(String::from_utf8(python.stdout).unwrap().trim())
        .arg("-B")
        .arg(source.join("tests/kms/emulator.py"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut url = String::new();
    BufReader::new(emulator.stdout.take().unwrap()).read_line(&mut url).unwrap();
    assert!(url.starts_with("http://127.0.0.1:"), "{url}");

    let tests = Command::new(std::env::current_exe().unwrap())
        .arg("--ignored")
        .env(EMULATOR, url.trim())
        .env("AWS_ACCESS_KEY_ID", "test")
        .env("AWS_SECRET_ACCESS_KEY", "test")
        .env("AWS_CONFIG_FILE", "/dev/null")
        .env("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
        .env_remove("AWS_ENDPOINT_URL")
        .env_remove("AWS_PROFILE")
        .output()
        .unwrap();
    drop(emulator.stdin.take());
    emulator.wait().unwrap();
    let said = String::from_utf8_lossy(&tests.stdout);
    assert!(tests.status.success() && said.contains("6 passed"), "{said}");
}

fn emulator() -> String {
    std::env::var(EMULATOR).unwrap()
}

fn administer<T>(work: impl AsyncFnOnce(Client) -> T) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let config = aws_config::defaults(BehaviorVersion::latest())
            .endpoint_url(emulator())
            .region(Region::new(REGION));
        work(Client::new(&config.load().await)).await
    })
}

/// The id of a new key.
fn new_key() -> String {
    administer(async |client| {
        client.create_key().send().await.unwrap().key_metadata.unwrap().key_id().to_owned()
    })
}

fn lock(key_id: &str, endpoint: &str) -> Lock {
    Lock::AwsKms {
        key_id: key_id.to_owned(),
        endpoint: Some(endpoint.to_owned()),
        region: Some(REGION.to_owned()),
    }
}

/// A store with one record under a new key; its state directory, its key and its lock.
fn store() -> (tempfile::TempDir, PathBuf, String, Lock) {
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("state");
    let key = new_key();
    let lock = lock(&key, &emulator());
    let store = Store::create(&state, &lock).unwrap();
    store.write::<_, StoreError>(|changes| changes.put("users", "alice", b"one")).unwrap();
    (directory, state, key, lock)
}

fn opens(state: &Path, lock: &Lock) {
    let store = Store::open(state, lock).unwrap();
    let value = store.read::<_, StoreError>(|view| view.get("users", "alice")).unwrap();
    assert_eq!(value.unwrap().as_slice(), b"one");
}

#[track_caller]
fn refuses(state: &Path, lock: &Lock, reason: &str) {
    let message = Store::open(state, lock).err().unwrap().to_string();
    assert!(message.contains("stays closed: no lock: AWS KMS key") && message.contains(reason), "{message}");
}

#[test]
#[ignore = "needs the emulator"]
fn the_same_key_opens_the_store() {
    let (directory, state, key, lock) = store();
    opens(&state, &lock);
    // A program calls this within its own runtime.
    administer(async |_| opens(&state, &lock));
    let multi = tokio::runtime::Builder::new_multi_thread().build().unwrap();
    multi.block_on(async { opens(&state, &lock) });
    assert!(!lock.create_if_missing().unwrap(), "there is no key file to make");
    let key_file = Lock::KeyFile(directory.path().join("lock.key"));
    assert!(key_file.create_if_missing().unwrap());
    let other_kind = Store::open(&state, &key_file).err().unwrap().to_string();
    assert!(other_kind.contains("is locked by the AWS KMS key arn:aws:kms:"), "{other_kind}");
    assert!(other_kind.contains(&key), "{other_kind}");
}

#[test]
#[ignore = "needs the emulator"]
fn another_key_does_not() {
    let (_directory, state, _, own) = store();
    refuses(&state, &lock(&new_key(), &emulator()), "Exception");
    refuses(&state, &lock("12345678-1234-1234-1234-123456789012", &emulator()), "there is no such key");
    opens(&state, &own);
}

/// As when it was deleted. (The emulator goes on decrypting with disabled keys, unlike AWS.)
#[test]
#[ignore = "needs the emulator"]
fn a_key_that_is_not_there_does_not() {
    let (_directory, state, key, own) = store();
    let elsewhere = Some("eu-west-1".to_owned());
    let gone = Lock::AwsKms { key_id: key, endpoint: Some(emulator()), region: elsewhere };
    refuses(&state, &gone, "there is no such key in this account and region");
    opens(&state, &own);
}

#[test]
#[ignore = "needs the emulator"]
fn the_wrapped_key_of_another_store_does_not() {
    let (_directory, state, _, lock) = store();
    let about: TableDefinition<&str, &[u8]> = TableDefinition::new("about");
    let database = Database::open(state.join("store.redb")).unwrap();
    let record = {
        let table = database.begin_read().unwrap().open_table(about).unwrap();
        String::from_utf8(table.get("lock").unwrap().unwrap().value().to_vec()).unwrap()
    };
    let id = record.split('"').nth(5).unwrap();
    let altered = record.replace(id, "AAAAAAAAAAAAAAAAAAAAAA");
    let transaction = database.begin_write().unwrap();
    transaction.open_table(about).unwrap().insert("lock", altered.as_bytes()).unwrap();
    transaction.commit().unwrap();
    drop(database);
    refuses(&state, &lock, "the wrapped key belongs to another store or another key");
}

#[test]
#[ignore = "needs the emulator"]
fn without_the_service_nothing_opens() {
    let (_directory, state, key, own) = store();
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    refuses(&state, &lock(&key, &format!("http://{gone}")), "it cannot be reached");
    opens(&state, &own);
}

#[test]
#[ignore = "needs the emulator"]
fn a_store_is_not_made_without_the_key() {
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("state");
    let lock = lock("alias/none", &emulator());
    let message = Store::create(&state, &lock).err().unwrap().to_string();
    assert!(message.contains("there is no such key"), "{message}");
    assert!(!Store::exists(&state));
    assert!(OpenOptions::new().read(true).open(state.join("store.redb.new")).is_err());
}
