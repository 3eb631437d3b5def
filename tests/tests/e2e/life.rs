//! What becomes of open sessions while the tenant admin works: with a sidecar and a proxy of their own, in
//! the cluster of all.

use crate::shared::{POLICY, cluster, create_schema};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use trefoil_tests::endpoint::Endpoint;
use trefoil_tests::frontend::{Frame, Frontend, sqlstate};
use trefoil_tests::stack::{ProxyOptions, Stack};

const QUESTION: &str = "SELECT ssn FROM patients WHERE id = 1";

struct Setting {
    stack: Stack,
    direct: Endpoint,
}

impl Setting {
    fn new(name: &str, users: &[&str]) -> Self {
        let direct = cluster().create_database(name).unwrap();
        let dir = cluster().directory().join(name);
        let options = ProxyOptions {
            policy: POLICY,
            tenant: name,
            database: &direct,
            recorder: None,
            configuration: "",
        };
        let stack = Stack::start(&dir, &options, users, 1).unwrap();
        create_schema(&direct.through(stack.acting[0].port()));
        Self { stack, direct }
    }

    fn client(&self) -> Frontend {
        Frontend::connect(&self.direct.through(self.stack.application.port()), &[]).unwrap()
    }

    fn carrier(&self, user: &str, envelope: &str) -> String {
        format!("/*trefoil_user='{user}',trefoil_envelope='{envelope}'*/ ")
    }

    fn with_envelope(&self, user: &str, question: &str) -> String {
        self.carrier(user, &self.stack.tenant.envelope(user, &[]).unwrap()) + question
    }

    fn export(&self, user: &str) {
        self.stack.tenant.export(user, &[]).unwrap();
    }
}

#[track_caller]
fn refused(frames: &[Frame]) {
    assert_eq!(sqlstate(frames).as_deref(), Some("28000"), "{frames:?}");
    assert!(!frames.iter().any(|frame| frame.tag == b'D'), "rows beside a refusal");
}

#[track_caller]
fn answered(frames: &[Frame]) {
    let row = frames.iter().find(|frame| frame.tag == b'D').unwrap_or_else(|| panic!("{frames:?}"));
    assert_eq!(row.columns(), [Some(b"SEED-001".to_vec())]);
}

#[test]
fn a_new_share_ends_the_old_one_in_open_sessions_and_serves_at_once() {
    let setting = Setting::new("life_rekey", &["alice", "bob"]);
    let old = setting.with_envelope("alice", QUESTION);
    let (mut simple, mut extended, mut bob) = (setting.client(), setting.client(), setting.client());
    let of_bob = setting.with_envelope("bob", QUESTION);
    answered(&simple.query(&old).unwrap());
    answered(&extended.extended(&old, &[], true).unwrap());
    answered(&bob.query(&of_bob).unwrap());

    setting.stack.tenant.admin(&["user", "rekey", "alice", "--push"]).unwrap();
    refused(&simple.query(&old).unwrap());
    refused(&extended.extended(&old, &[], true).unwrap());
    // Another envelope of the old share is no better; of the new one it is good, in the same session.
    refused(&simple.query(&setting.with_envelope("alice", QUESTION)).unwrap());
    setting.export("alice");
    let new = setting.with_envelope("alice", QUESTION);
    answered(&simple.query(&new).unwrap());
    answered(&extended.extended(&new, &[], true).unwrap());
    answered(&bob.query(&of_bob).unwrap());
    // Swapped: another user's share under this UId.
    let envelope = setting.stack.tenant.envelope("bob", &[]).unwrap();
    refused(&simple.query(&(setting.carrier("alice", &envelope) + QUESTION)).unwrap());
}

#[test]
fn a_withdrawal_is_felt_in_every_kind_of_open_session() {
    let setting = Setting::new("life_withdraw", &["alice", "bob"]);
    let question = setting.with_envelope("bob", QUESTION);
    let (mut simple, mut extended, mut writer, mut reader) =
        (setting.client(), setting.client(), setting.client(), setting.client());
    answered(&simple.query(&question).unwrap());
    answered(&extended.extended(&question, &[], true).unwrap());
    assert_eq!(sqlstate(&reader.query("BEGIN").unwrap()), None);
    let cursor = setting.with_envelope("bob", "DECLARE c CURSOR FOR SELECT ssn FROM patients ORDER BY id");
    assert_eq!(sqlstate(&reader.query(&cursor).unwrap()), None);
    answered(&reader.query(&setting.with_envelope("bob", "FETCH 1 FROM c")).unwrap());

    let fetch = setting.with_envelope("bob", "FETCH 1 FROM c");
    let copy = setting.with_envelope("bob", "COPY patients TO STDOUT");
    setting.stack.tenant.withdraw("bob").unwrap();
    refused(&simple.query(&question).unwrap());
    refused(&extended.extended(&question, &[], true).unwrap());
    refused(&reader.query(&fetch).unwrap());
    let frames = writer.query(&copy).unwrap();
    assert_eq!(sqlstate(&frames).as_deref(), Some("28000"), "{frames:?}");
    assert!(!frames.iter().any(|frame| frame.tag == b'd'), "rows beside a refusal");
    let mut alice = setting.client();
    answered(&alice.query(&setting.with_envelope("alice", QUESTION)).unwrap());
}

#[test]
fn renewed_shares_leave_users_and_their_files_as_they_were() {
    let setting = Setting::new("life_renew", &["alice", "bob"]);
    let bundle = std::fs::read(setting.stack.tenant.user_bundle("alice")).unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let worker = scope.spawn(|| {
            let mut client = setting.client();
            let mut served = 0;
            while !done.load(Ordering::Relaxed) || served == 0 {
                let frames = client.query(&setting.with_envelope("alice", QUESTION)).unwrap();
                // Between the proxy's half and the application's, for milliseconds, shares do not fit.
                if sqlstate(&frames).is_none() {
                    answered(&frames);
                    served += 1;
                } else {
                    assert_eq!(sqlstate(&frames).as_deref(), Some("28000"), "{frames:?}");
                    if frames.last().is_none_or(|frame| frame.tag != b'Z') {
                        client = setting.client();
                    }
                }
            }
            served
        });
        for _ in 0..2 {
            setting.stack.tenant.admin(&["renew-shares", "--batch", "1"]).unwrap();
        }
        done.store(true, Ordering::Relaxed);
        assert!(worker.join().unwrap() > 0);
    });
    let mut client = setting.client();
    for user in ["alice", "bob"] {
        answered(&client.query(&setting.with_envelope(user, QUESTION)).unwrap());
    }
    assert_eq!(std::fs::read(setting.stack.tenant.user_bundle("alice")).unwrap(), bundle);
    // Both halves changed: the sidecar with the shares from before is none of the application any more.
    let mut former = Frontend::connect(&setting.direct.through(setting.stack.acting[0].port()), &[]).unwrap();
    refused(&former.query(QUESTION).unwrap());
}

#[test]
fn the_proxys_rsa_pair_rolls_over_with_an_overlap() {
    let setting = Setting::new("life_rotate", &["alice"]);
    let tenant = &setting.stack.tenant;
    let announcement = cluster().directory().join("life_rotate/announcement.jws").display().to_string();
    let old_bundle = cluster().directory().join("life_rotate/old.json");
    std::fs::copy(tenant.user_bundle("alice"), &old_bundle).unwrap();
    let old = || setting.carrier("alice", &tenant.envelope_from(&old_bundle, &[]).unwrap()) + QUESTION;
    let mut client = setting.client();
    answered(&client.query(&old()).unwrap());

    let rotated = Instant::now();
    tenant.admin(&["proxy-key", "rotate", "--overlap", "20s", "--push"]).unwrap();
    tenant.admin(&["proxy-key", "announce", "--push", "--out", &announcement]).unwrap();
    // An agent switches by the announcement, and needs no new file; the other one is good beside it.
    let new = || {
        let envelope = tenant.envelope("alice", &["--announcement", &announcement]).unwrap();
        setting.carrier("alice", &envelope) + QUESTION
    };
    assert!(rotated.elapsed() < Duration::from_secs(15), "too slow to see the overlap");
    answered(&client.query(&old()).unwrap());
    answered(&client.query(&new()).unwrap());

    let end = Instant::now() + Duration::from_secs(40);
    let frames = loop {
        let frames = client.query(&old()).unwrap();
        if sqlstate(&frames).is_some() {
            break frames;
        }
        assert!(Instant::now() < end, "the former pair does not retire");
        std::thread::sleep(Duration::from_millis(500));
    };
    assert!(rotated.elapsed() >= Duration::from_secs(19), "retired before its time");
    refused(&frames);
    answered(&client.query(&new()).unwrap());
}
