//! Bytes of every kind at every stage of proxy and sidecars, from several connections at once, while a
//! well-behaved session goes on. `TREFOIL_NOISE_SECONDS` has it last longer than the usual 3 for each
//! program; the seed is printed, and `TREFOIL_NOISE_SEED` repeats it.

use crate::shared::{POLICY, cluster, create_schema};
use bytes::BytesMut;
use postgres_protocol::authentication::md5_hash;
use postgres_protocol::message::frontend;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};
use trefoil_tests::endpoint::Endpoint;
use trefoil_tests::frontend::{Frontend, sqlstate};
use trefoil_tests::stack::{Part, ProxyOptions, Stack};

/// What the well-behaved session stores and nobody else may see.
const MARKER: &str = "MARKER-of-the-quiet-session";

/// Connections at once, to each program.
const NOISY: u64 = 3;

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// SplitMix64: enough for noise.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(limit.max(1)).unwrap()).unwrap()
    }

    fn bytes(&mut self, limit: usize) -> Vec<u8> {
        (0..self.below(limit)).map(|_| self.next().to_be_bytes()[0]).collect()
    }

    /// The same bytes, some of them changed, taken away, doubled, or cut off.
    fn mutated(&mut self, mut bytes: Vec<u8>) -> Vec<u8> {
        for _ in 0..self.below(4) {
            let at = self.below(bytes.len() + 1);
            match self.below(6) {
                0 => bytes.truncate(at),
                1 if at < bytes.len() => bytes[at] = self.next().to_be_bytes()[0],
                2 if at + 4 < bytes.len() => bytes[at..at + 4].copy_from_slice(&[0x7f, 0xff, 0xff, 0xff]),
                3 if at < bytes.len() => bytes[at] ^= 0x80,
                4 => bytes.splice(at..at, vec![0; 70_000]).for_each(drop),
                _ => {
                    let noise = self.bytes(64);
                    bytes.splice(at..at, noise).for_each(drop);
                }
            }
        }
        bytes
    }
}

fn startup(endpoint: &Endpoint) -> Vec<u8> {
    let mut buffer = BytesMut::new();
    let parameters = [("user", endpoint.user.as_str()), ("database", endpoint.database.as_str())];
    frontend::startup_message(parameters, &mut buffer).unwrap();
    buffer.to_vec()
}

/// Requests of both protocols, and a COPY.
fn requests(random: &mut Random) -> Vec<u8> {
    let mut buffer = BytesMut::new();
    match random.below(4) {
        0 => frontend::query("SELECT id, ssn FROM patients WHERE ssn = 'x'", &mut buffer).unwrap(),
        1 => frontend::query("SELECT name FROM wards; SELECT 1", &mut buffer).unwrap(),
        2 => {
            frontend::parse("s", "SELECT id FROM patients WHERE ssn = $1", [], &mut buffer).unwrap();
            frontend::describe(b'S', "s", &mut buffer).unwrap();
            trefoil_tests::frontend::bind("p", "s", &[Some(b"x")], false, true, &mut buffer).unwrap();
            frontend::execute("p", 1, &mut buffer).unwrap();
            frontend::close(b'S', "s", &mut buffer).unwrap();
            frontend::sync(&mut buffer);
        }
        _ => {
            let text = "COPY patients (id, ssn) FROM STDIN WHERE ssn = 'never'";
            frontend::query(text, &mut buffer).unwrap();
            for rows in [&b"900\tx\n"[..], b"901\ty", b"\tmore\n"] {
                frontend::CopyData::new(rows).unwrap().write(&mut buffer);
            }
            frontend::copy_done(&mut buffer);
        }
    }
    buffer.to_vec()
}

/// One connection that gets as far as its stage, and there says what it should not.
fn disturb(endpoint: &Endpoint, random: &mut Random) {
    let stage = random.below(7);
    if stage < 4 {
        let Ok(mut stream) = TcpStream::connect((endpoint.host.as_str(), endpoint.port)) else { return };
        let mut say = |bytes: &[u8]| stream.write_all(bytes).ok();
        match stage {
            0 => drop(say(&random.bytes(2_000))),
            1 => {
                // SSLRequest or GSSENCRequest, then no handshake; or TLS at once, which is none.
                let request = [&b"\0\0\0\x08\x04\xd2\x16\x2f"[..], b"\0\0\0\x08\x04\xd2\x16\x30", b""];
                say(request[random.below(3)]);
                let hello =
                    [&b"\x16\x03\x01\x01\x00\x01\x00\x00\xfc\x03\x03"[..], &random.bytes(600)].concat();
                say(&random.mutated(hello));
            }
            2 => drop(say(&random.mutated(startup(endpoint)))),
            _ => {
                say(&startup(endpoint));
                let mut password = BytesMut::new();
                let hash = md5_hash(b"user", b"wrong", [1, 2, 3, 4]);
                match random.below(3) {
                    0 => frontend::password_message(hash.as_bytes(), &mut password).unwrap(),
                    1 => {
                        let first = b"n,,n=,r=abcdefghijklmnopqrstuvwx";
                        frontend::sasl_initial_response("SCRAM-SHA-256", first, &mut password).unwrap();
                    }
                    _ => frontend::sasl_response(b"c=biws,r=abc,p=AAAA", &mut password).unwrap(),
                }
                say(&random.mutated(password.to_vec()));
            }
        }
        leave(stream, random);
        return;
    }
    let Ok(mut client) = Frontend::connect(endpoint, &[]) else { return };
    for _ in 0..=random.below(4) {
        let requests = requests(random);
        if client.send_bytes(&random.mutated(requests)).is_err() {
            return;
        }
    }
    if let Ok(stream) = client.sender() {
        leave(stream, random);
    }
}

/// Fills the buffers before it is logged in, and has to be let go all the same.
fn say_much_too_early(endpoint: &Endpoint) {
    let mut stream = TcpStream::connect((endpoint.host.as_str(), endpoint.port)).unwrap();
    let mut early = BytesMut::new();
    (0..9).for_each(|_| frontend::query(&"-".repeat(30_000), &mut early).unwrap());
    // It may be refused before it has said all.
    stream.write_all(&[startup(endpoint), early.to_vec()].concat()).ok();
    stream.shutdown(Shutdown::Write).ok();
    stream.set_read_timeout(Some(Duration::from_secs(15))).unwrap();
    let ended = stream.read_to_end(&mut Vec::new());
    let silent = |error: &std::io::Error| matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut);
    assert!(!ended.as_ref().is_err_and(silent), "port {} waits on", endpoint.port);
}

/// Goes: at once, after the answer, or after having said that nothing more comes.
fn leave(mut stream: TcpStream, random: &mut Random) {
    let how = random.below(4);
    if how == 0 {
        return;
    }
    if how == 1 {
        stream.shutdown(Shutdown::Write).ok();
    }
    stream.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let (mut answer, mut buffer) = (Vec::new(), [0; 8192]);
    loop {
        match stream.read(&mut buffer) {
            Ok(count) if count > 0 && answer.len() < 1 << 20 => answer.extend_from_slice(&buffer[..count]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            _ => break,
        }
    }
    let seen = memchr::memmem::find(&answer, MARKER.as_bytes()).is_some();
    assert!(!seen, "another session's data");
}

/// Writes and reads, as if nothing were; how often.
fn go_on(endpoint: &Endpoint, ended: &AtomicBool) -> u64 {
    let mut client = Frontend::connect(endpoint, &[]).unwrap();
    let mut rounds = 0;
    while !ended.load(Ordering::Relaxed) {
        rounds += 1;
        let value = format!("{MARKER} {rounds}");
        let text = format!("UPDATE patients SET name = '{value}' WHERE id = 1 RETURNING name");
        let began = Instant::now();
        for frames in [
            client.query(&text).unwrap(),
            client.extended("SELECT name FROM patients WHERE id = 1", &[], false).unwrap(),
        ] {
            assert_eq!(sqlstate(&frames), None, "{frames:?}");
            let row = frames.iter().find(|frame| frame.tag == b'D').unwrap();
            assert_eq!(row.columns(), [Some(value.clone().into_bytes())]);
        }
        assert!(began.elapsed() < Duration::from_secs(20), "the quiet session waits for the noisy ones");
        std::thread::sleep(Duration::from_millis(20));
    }
    rounds
}

/// Resident memory in kilobytes, and open descriptors.
fn holds(part: &Part) -> (u64, usize) {
    let process = part.process().pid();
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    let resident = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    (resident, std::fs::read_dir(format!("/proc/{process}/fd")).unwrap().count())
}

fn disturb_for(endpoint: &Endpoint, seed: u64, seconds: u64, connections: &AtomicU64) {
    let mut random = Random(seed);
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(seconds) {
        disturb(endpoint, &mut random);
        connections.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn noise_at_every_stage_disturbs_no_session_and_leaves_nothing_behind() {
    let clock = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let seed = variable("TREFOIL_NOISE_SEED").unwrap_or(clock);
    let seconds = variable("TREFOIL_NOISE_SECONDS").unwrap_or(3);
    println!("TREFOIL_NOISE_SEED={seed}");
    let options = ProxyOptions {
        policy: POLICY,
        tenant: "noise",
        database: cluster().endpoint(),
        recorder: None,
        configuration: "",
    };
    let mut stack = Stack::start(&cluster().directory().join("noise"), &options, &["alice"], 1).unwrap();
    let direct = cluster().create_database("noise").unwrap();
    let [proxy, alice, application] =
        [&stack.proxy, &stack.acting[0], &stack.application].map(|part| direct.through(part.port()));
    create_schema(&alice);

    let targets = [&proxy, &alice, &application];
    let connections = AtomicU64::new(0);
    let noise = |seed: u64, seconds: u64| {
        std::thread::scope(|scope| {
            for number in 0..NOISY * 3 {
                let (target, connections) = (targets[usize::try_from(number % 3).unwrap()], &connections);
                let own = seed.wrapping_mul(31).wrapping_add(number);
                scope.spawn(move || disturb_for(target, own, seconds, connections));
            }
        });
    };
    // A first round, so that caches and pools have what they will have.
    noise(seed ^ 1, 1);
    let before = [&stack.proxy, &stack.acting[0], &stack.application].map(holds);
    let ended = AtomicBool::new(false);
    let rounds = std::thread::scope(|scope| {
        let quiet = scope.spawn(|| go_on(&alice, &ended));
        noise(seed, seconds);
        ended.store(true, Ordering::Relaxed);
        quiet.join().unwrap()
    });
    for target in targets {
        say_much_too_early(target);
    }
    println!("{} noisy connections, {rounds} rounds of the quiet session", connections.into_inner());
    assert!(rounds > 2, "the quiet session hardly got on");

    for (part, (resident, descriptors)) in
        [&mut stack.proxy, &mut stack.acting[0], &mut stack.application].into_iter().zip(before)
    {
        let name = part.process().name().to_owned();
        assert!(part.process_mut().running(), "{name} has ended");
        let log = std::fs::read_to_string(part.process().log()).unwrap();
        assert!(!log.contains("panicked"), "{name}: {log}");
        let deadline = Instant::now() + Duration::from_secs(20);
        let mut after = holds(part);
        while after.1 > descriptors + 2 && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(100));
            after = holds(part);
        }
        assert!(after.1 <= descriptors + 2, "{name}: {descriptors} descriptors before, {} after", after.1);
        assert!(after.0 < resident + 64 * 1024, "{name}: {resident} kB before, {} kB after", after.0);
    }
    assert_eq!(sqlstate(&Frontend::connect(&alice, &[]).unwrap().query("SELECT 1").unwrap()), None);
}
