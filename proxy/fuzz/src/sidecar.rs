//! The sidecar's session: an application that says anything in any order, and a proxy that answers anything.
//! The input's first byte says how the session begins; then each byte is a step, with the bytes that it takes.
//!
//! Held throughout: the application's share of a user goes in that user's `K` alone, each request has a `K` of
//! its own, what names no share passes as it is, and where the bytes are cut makes no difference.

use std::sync::LazyLock;
use trefoil_keys::carrier::message::KeyMessage;
use trefoil_shim::fuzzed::Machine;

const SHARES: [(&str, &str); 2] = [("alice", "QJ-share-of-alice-QZ"), ("bob", "QJ-share-of-bob-QZ")];
/// So that it is met.
const MAX_MESSAGE: usize = 300;

const FIRST: [&[u8]; 5] = [
    b"\0\x03\0\0user\0web\0\0",
    b"\0\x03\0\0user\0web\0trefoil.user\0alice\0trefoil.envelope\0e.alice\0\0",
    b"\0\x03\0\0user\0bob\0options\0-c app.who=alice -c role=bob\0\0",
    b"\0\x03\0\0user\0web\0options\0-c trefoil.user=bob --trefoil.envelope=e.bob\0application_name\0alice\0\0",
    b"\x04\xd2\x16\x2e\0\0\0\x01\0\0\0\x02",
];

const TEXTS: [&str; 34] = [
    "SELECT 1",
    "INSERT INTO t VALUES ($1)",
    "BEGIN",
    "COMMIT",
    "ROLLBACK",
    "SAVEPOINT a",
    "ROLLBACK TO a",
    "SET trefoil.user = 'alice'",
    "SET LOCAL trefoil.user = 'bob'",
    "SET trefoil.envelope = 'e.alice'; SELECT 1",
    "SET trefoil.app_share TO 'main:x'",
    "RESET trefoil.user",
    "RESET ALL",
    "DISCARD ALL",
    "DEALLOCATE s",
    "DEALLOCATE ALL",
    "SELECT set_config('app.who', $1, false)",
    "SELECT set_config('trefoil.envelope', 'e.bob', true), set_config('trefoil.user', 'bob', true)",
    "SET app.who = 'bob'",
    "SET SESSION AUTHORIZATION bob",
    "SET LOCAL ROLE alice",
    "SET application_name = 'alice'",
    "SELECT 1 /*user='bob'*/",
    "SELECT 1 /*trefoil_user='alice',trefoil_envelope='e.alice'*/; UPDATE t SET a = 1 /*trefoil_app_share='x'*/",
    "SET request.jwt.claims = '{\"sub\":\"alice\"}'",
    "PREPARE s AS SELECT set_config('app.who', 'bob', false)",
    "EXECUTE s",
    "DO $$BEGIN PERFORM set_config('app.who', 'bob', false); END$$",
    "CALL p()",
    "COPY t FROM STDIN",
    "DECLARE c CURSOR FOR SELECT set_config('role', 'bob', false)",
    "FETCH ALL FROM c",
    "SELECT U&'\\0061' || e'\\'' || $q$'$q$ -- it's",
    "",
];

/// Whole messages of the application, and of the proxy.
static SAYINGS: LazyLock<[Vec<Vec<u8>>; 2]> = LazyLock::new(|| {
    let mut client: Vec<Vec<u8>> = [
        &b"S"[..],
        b"H",
        b"X",
        b"E\0\0\0\0\0",
        b"Ep\0\0\0\0\x01",
        b"DSs\0",
        b"DP\0",
        b"CSs\0",
        b"CP\0",
        b"c",
        b"fno\0",
        b"d1\t2\n",
        b"psecret\0",
        b"F\0\0\x08\x1d\0\0\0\x03\0\0\0\x07app.who\0\0\0\x03bob\0\0\0\x01f\0\0",
        b"F\0\0\x05\x1d\0\0\0\0\0\0",
        b"B\0\0\0\0\0\0\0\0",
        b"B\0s\0\0\0\0\x01\0\0\0\x03bob\0\0",
        b"Bp\0s\0\0\x01\0\x01\0\x01\0\0\0\x05alice\0\0",
        b"B\0s\0\0\0\0\x01\xff\xff\xff\xff\0\0",
    ]
    .map(message)
    .to_vec();
    for text in TEXTS {
        client.push(message(format!("Q{text}\0").as_bytes()));
        client.push(message(format!("P\0{text}\0\0\0").as_bytes()));
        client.push(message(format!("Ps\0{text}\0\0\x01\0\0\0\x19").as_bytes()));
    }
    let proxy = [
        &b"ZI"[..],
        b"ZT",
        b"ZE",
        b"1",
        b"2",
        b"3",
        b"CSELECT 1\0",
        b"CSET\0",
        b"CROLLBACK\0",
        b"CCOMMIT\0",
        b"CDEALLOCATE\0",
        b"CDISCARD ALL\0",
        b"CINSERT 0 1\0",
        b"ESERROR\0C42601\0\0",
        b"D\0\0",
        b"I",
        b"s",
        b"R\0\0\0\0",
        b"Sa\0b\0",
        b"G\0\0\0",
        b"v\0\x03\0\0\0\0\0\x01_pq_.x\0",
        b"v\0\x03\0\0\0\0\0\x01_pq_.trefoil\0",
    ]
    .map(message)
    .to_vec();
    [client, proxy]
});

fn message(kind_and_body: &[u8]) -> Vec<u8> {
    let (kind, body) = kind_and_body.split_first().expect("a type");
    let length = u32::try_from(body.len() + 4).expect("it is short");
    [&[*kind][..], &length.to_be_bytes(), body].concat()
}

/// What the input's next bytes are in one direction: a saying, or themselves.
fn saying(input: &mut &[u8], sayings: &[Vec<u8>]) -> Vec<u8> {
    let number = usize::from(take(input, 1).first().copied().unwrap_or_default());
    if let Some(saying) = sayings.get(number) {
        return saying.clone();
    }
    // Of the length that it says, as a rule.
    let bytes = take(input, number & 0x1f);
    if number & 0x20 == 0 && !bytes.is_empty() { message(bytes) } else { bytes.to_vec() }
}

fn take<'a>(input: &mut &'a [u8], count: usize) -> &'a [u8] {
    let (taken, rest) = input.split_at(count.min(input.len()));
    *input = rest;
    taken
}

/// Runs a session; whether it lasted until the input's end.
pub fn run(data: &[u8]) -> bool {
    let mut input = data;
    let how = take(&mut input, 1).first().copied().unwrap_or_default();
    let first = FIRST.get(usize::from(how));
    let first = first.copied().unwrap_or_else(|| take(&mut input, usize::from(how)));
    let Some((packet, mut at_once)) = Machine::begin(first, &SHARES, MAX_MESSAGE) else { return how == 4 };
    assert!(
        Machine::begin(&packet[4..], &SHARES, MAX_MESSAGE).is_none(),
        "it does not say that it is attached"
    );
    let (_, mut in_pieces) = Machine::begin(first, &SHARES, MAX_MESSAGE).expect("it was begun");
    let mut seen = Seen::default();
    while let Some((step, rest)) = input.split_first() {
        input = rest;
        let [client, proxy] = &*SAYINGS;
        let (mut said, mut answered) = (Vec::new(), Vec::new());
        if step & 1 == 0 {
            said = saying(&mut input, client);
        } else {
            answered = saying(&mut input, proxy);
        }
        seen.said.extend_from_slice(&said);
        let (mut upstream, mut shown) = (Vec::new(), Vec::new());
        let goes_on = at_once.turn(&said, &answered, &mut upstream, &mut shown);
        let (mut same, mut shown_too) = (Vec::new(), Vec::new());
        let mut ended = !in_pieces.turn(&[], &answered, &mut same, &mut shown_too);
        for byte in said {
            ended = ended || !in_pieces.turn(&[byte], &[], &mut same, &mut shown_too);
        }
        assert!(shown == shown_too && upstream == same && goes_on != ended, "it matters where bytes are cut");
        seen.upstream.extend_from_slice(&upstream);
        seen.look();
        if !goes_on {
            return false;
        }
    }
    true
}

/// What was said, and what of it has gone up.
#[derive(Default)]
struct Seen {
    said: Vec<u8>,
    upstream: Vec<u8>,
    /// The request under way has had its `K`.
    attached: bool,
    /// The last request was ended by Sync.
    synced: bool,
}

impl Seen {
    /// Follows the messages that have gone up as a whole.
    fn look(&mut self) {
        while let Some(sent) = first_message(&self.upstream) {
            let (kind, body) = (sent[0], &sent[5..]);
            if kind == b'K' {
                let key = KeyMessage::decode(body).expect("its own");
                let share = SHARES.iter().find(|(user, _)| *user == key.user).map_or("", |(_, share)| share);
                assert_eq!(key.app_share, share, "the share of somebody else");
                self.attached = true;
                self.upstream.drain(..sent.len());
                continue;
            }
            assert!(!SHARES.iter().any(|(_, share)| contains(body, share.as_bytes())), "a share by itself");
            let Some(said) = first_message(&self.said) else { panic!("nobody said so") };
            let lower = said.to_ascii_lowercase();
            if !(contains(&lower, b"trefoil") || contains(&lower, b"u&")) {
                assert!(said == sent, "it is not what was said");
            }
            match kind {
                b'Q' | b'F' | b'S' => {
                    assert!(self.attached || kind == b'S', "a request without a word on its user");
                    self.attached = false;
                    self.synced = kind == b'S';
                }
                b'd' | b'c' | b'f' if self.synced => (self.attached, self.synced) = (true, false),
                b'P' | b'B' | b'D' | b'E' | b'C' | b'H' => {
                    assert!(self.attached, "a request without a word on its user");
                }
                _ => {}
            }
            let (said, sent) = (said.len(), sent.len());
            self.said.drain(..said);
            self.upstream.drain(..sent);
        }
    }
}

fn first_message(bytes: &[u8]) -> Option<&[u8]> {
    let length = bytes.get(1..5)?.try_into().map(u32::from_be_bytes).ok()?;
    bytes.get(..usize::try_from(length).ok()?.checked_add(1)?).filter(|message| message.len() > 4)
}

fn contains(bytes: &[u8], what: &[u8]) -> bool {
    bytes.windows(what.len()).any(|window| window == what)
}

/// Each beginning, and each saying within a session, as a request that is answered.
pub fn seeds() -> Vec<Vec<u8>> {
    let byte = |number: usize| u8::try_from(number).expect("there are fewer");
    let mut seeds: Vec<_> = (0..FIRST.len()).map(|first| vec![byte(first)]).collect();
    for (number, said) in SAYINGS[0].iter().enumerate() {
        // ReadyForQuery, this, a Sync, and then an answer of each kind.
        let mut seed = vec![byte(number % 4), 1, 0, 0, byte(number), 0, 0];
        for answer in [3, 4, 6 + number % 7, number % 3] {
            seed.extend([1, byte(answer)]);
        }
        seed.extend([0, 19, 1, 6, 1, 0]);
        if said.len() < MAX_MESSAGE {
            seeds.push(seed);
        }
    }
    seeds
}
