//! Fuzzing on the stable toolchain: mutated SQL and mutated messages, from a seed that is printed. Runs
//! for `TREFOIL_FUZZ_SECONDS` (3 by default); `TREFOIL_FUZZ_SEED` repeats a run.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "these are tests")]

#[path = "../fuzz/src/corpus.rs"]
#[allow(dead_code, unreachable_pub, reason = "fuzzing by coverage uses the rest")]
mod corpus;
mod support;

use corpus::{CASES, TABLES, names_protected, tokens};
use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};
use std::time::{Duration, Instant};
use support::{collection, on_a_large_stack};
use trefoil_proxy::sql::{self, Context, Refusal};
use trefoil_proxy::wire::{backend, bind, frame, frontend, rows, startup};

/// What mutations put in: names that are protected, and what changes the meaning of names.
const WORDS: [&str; 48] = [
    "patients",
    "patients",
    "public.patients",
    "\"patients\"",
    "U&\"\\0070atients\"",
    "visits",
    "wards",
    "ssn",
    "name",
    "born",
    "p.ssn",
    "id",
    "*",
    "p.*",
    "patients.*",
    "(patients).name",
    "p",
    "AS p",
    "$1",
    "$2",
    "'x'",
    "'x'::text",
    "E'\\'",
    "NULL",
    "DEFAULT",
    "1",
    "SELECT",
    "FROM patients",
    "WHERE",
    "UNION ALL",
    "WITH patients AS (SELECT 1)",
    "INSERT INTO patients",
    "VALUES ('x')",
    "UPDATE patients SET name = 'x'",
    "DELETE FROM patients",
    "RETURNING *",
    "EXPLAIN",
    "PREPARE s AS",
    "JOIN patients USING (ssn)",
    "COPY patients TO STDOUT",
    "(",
    ")",
    ",",
    ";",
    "=",
    "LATERAL",
    "CREATE TABLE t AS",
    "/* patients */",
];

fn seconds() -> Duration {
    let seconds = std::env::var("TREFOIL_FUZZ_SECONDS").ok().and_then(|text| text.parse().ok());
    Duration::from_secs(seconds.unwrap_or(3))
}

fn random() -> StdRng {
    let seed = std::env::var("TREFOIL_FUZZ_SEED").ok().and_then(|text| text.parse().ok());
    let seed: u64 = seed.unwrap_or_else(|| {
        let clock = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        u64::try_from(clock.as_nanos() & u128::from(u64::MAX)).unwrap()
    });
    println!("TREFOIL_FUZZ_SEED={seed}");
    StdRng::seed_from_u64(seed)
}

#[test]
fn no_mutated_statement_that_names_a_protected_table_passes_untouched() {
    on_a_large_stack(|| {
        let mut random = random();
        let (policy, catalog) = &*TABLES;
        let context = Context { policy, catalog, prepared: &|_| None, audited: false };
        let collection = collection::statements();
        let short = collection.iter().filter(|statement| statement.text.len() < 1_000);
        let foreign: Vec<Vec<String>> = short.map(|statement| tokens(&statement.text)).collect();
        let own: Vec<Vec<String>> = CASES.iter().map(|case| tokens(&case.text)).collect();
        let (mut texts, mut planned, mut touched) = (0, 0, 0);
        let mut wrong = Vec::new();
        // The parser's crate panics at some texts, which are refused for it: not worth a line here.
        std::panic::set_hook(Box::new(|_| {}));
        let began = Instant::now();
        while began.elapsed() < seconds() && wrong.is_empty() {
            let text = mutated(&own, &foreign, &mut random);
            texts += 1;
            match sql::analyze(text.as_bytes(), &context) {
                Ok(plan) if plan.protected || !plan.edits.is_empty() => {
                    planned += 1;
                    touched += 1;
                }
                Ok(_) => {
                    planned += 1;
                    if names_protected(&text) {
                        wrong.push(text);
                    }
                }
                Err(Refusal::Refused(_) | Refusal::UnknownRelation(_)) => {}
            }
        }
        drop(std::panic::take_hook());
        assert!(wrong.is_empty(), "passes untouched: {wrong:?}");
        println!("{texts} texts, {planned} planned, {touched} of these touch a protected table");
        assert!(
            touched * 100 > texts,
            "too few texts touch a protected table: the mutations have lost their sense"
        );
    });
}

/// A statement of the collection, or several, with tokens changed.
fn mutated(own: &[Vec<String>], foreign: &[Vec<String>], random: &mut StdRng) -> String {
    let seeds = if random.random_range(0..4) == 0 { foreign } else { own };
    let mut tokens = seeds[random.random_range(0..seeds.len())].clone();
    let mut changes = random.random_range(0..4);
    // Most identifiers become names that the policy knows, or the statement has nothing to do with it.
    for token in &mut tokens {
        let is_name = token.starts_with(|c: char| c.is_ascii_lowercase()) && token.len() > 3;
        if is_name && random.random_range(0..3) == 0 {
            *token = ["patients", "ssn", "name", "id", "wards"][random.random_range(0..5)].to_owned();
        }
    }
    while changes > 0 && tokens.len() < 2_000 {
        changes -= 1;
        let at = random.random_range(0..=tokens.len());
        let word = || WORDS[(at * 31 + tokens.len()) % WORDS.len()].to_owned();
        match random.random_range(0..8) {
            0 | 1 => tokens.insert(at, WORDS[random.random_range(0..WORDS.len())].to_owned()),
            2 if at < tokens.len() => {
                tokens.remove(at);
            }
            3 if at < tokens.len() => tokens[at] = word(),
            4 => {
                let other = &seeds[random.random_range(0..seeds.len())];
                let part = other[..random.random_range(0..=other.len())].to_vec();
                tokens.splice(at..at, part);
            }
            5 if at < tokens.len() => {
                let to = random.random_range(0..tokens.len());
                tokens.swap(at, to);
            }
            6 => {
                let depth = random.random_range(1..300);
                tokens.splice(at..at, vec!["(".to_owned(); depth]);
                let end = random.random_range(at..=tokens.len());
                tokens.splice(end..end, vec![")".to_owned(); depth]);
            }
            _ => {
                let part: Vec<String> = tokens[at..].iter().take(6).cloned().collect();
                tokens.splice(at..at, part);
            }
        }
    }
    tokens.join(" ")
}

#[test]
fn nested_texts_are_refused_or_planned_and_never_end_the_process() {
    on_a_large_stack(|| {
        let (policy, catalog) = &*TABLES;
        let context = Context { policy, catalog, prepared: &|_| None, audited: false };
        for depth in [1_000, 9_000, 100_000] {
            let bombs = [
                format!("SELECT name FROM patients WHERE {}true{}", "(".repeat(depth), ")".repeat(depth)),
                format!("SELECT name FROM patients WHERE {}true", "NOT ".repeat(depth)),
                format!("SELECT id{} FROM patients", "+1".repeat(depth)),
                format!("SELECT ssn FROM patients{}", " UNION SELECT ssn FROM visits".repeat(depth)),
                format!("{}SELECT name FROM patients{}", "SELECT (".repeat(depth), ")".repeat(depth)),
                format!("SELECT name FROM patients WHERE ssn IN ({}'x')", "'y',".repeat(depth)),
                format!(
                    "SELECT {}name{} FROM patients",
                    "CASE WHEN true THEN ".repeat(depth),
                    " END".repeat(depth)
                ),
            ];
            for bomb in bombs {
                if let Ok(plan) = sql::analyze(bomb.as_bytes(), &context) {
                    assert!(plan.protected, "{}", &bomb[..80]);
                }
            }
        }
    });
}

/// Well-formed bodies, from which mutations begin.
fn messages() -> Vec<Vec<u8>> {
    let parse = b"s\0SELECT $1\0\0\x02\0\0\0\x17\0\0\0\0".to_vec();
    let bind = b"p\0s\0\0\x01\0\x01\0\x02\0\0\0\x04abcd\xff\xff\xff\xff\0\x01\0\x01".to_vec();
    let row = b"\0\x03\0\0\0\x04\\x01\xff\xff\xff\xff\0\0\0\0abc".to_vec();
    let description = b"\0\x01name\0\0\0\0\x01\0\x02\0\0\0\x11\xff\xff\xff\xff\xff\xff\0\0".to_vec();
    let parameters = b"\0\x02\0\0\0\x17\0\0\0\x11".to_vec();
    let start = b"\0\0\0\x17\0\x03\0\0user\0a\0x\0y\0\0".to_vec();
    let error = b"SERROR\0VERROR\0C22P02\0Mm\0\0".to_vec();
    vec![
        parse,
        bind,
        row,
        description,
        parameters,
        start,
        error,
        b"Sname\0".to_vec(),
        b"name\0\0\0\0\x05".to_vec(),
    ]
}

#[test]
fn no_mutated_message_is_read_beyond_its_end_or_believed_in_its_lengths() {
    // A length that is believed before it is checked asks for more memory than this allows.
    let limit = rustix::process::Rlimit { current: Some(3 << 30), maximum: None };
    rustix::process::setrlimit(rustix::process::Resource::As, limit).ok();
    let mut random = random();
    let seeds = messages();
    let began = Instant::now();
    let mut read = 0_u64;
    while began.elapsed() < seconds() {
        let mut body = seeds[random.random_range(0..seeds.len())].clone();
        for _ in 0..random.random_range(0..6) {
            let at = random.random_range(0..=body.len());
            match random.random_range(0..5) {
                0 => body.truncate(at),
                1 if at < body.len() => body[at] = u8::try_from(random.next_u32() & 255).unwrap(),
                2 if at < body.len() => body[at] ^= 0x80,
                3 => body.insert(at, 0xff),
                _ => body.extend_from_slice(&random.next_u32().to_be_bytes()),
            }
        }
        read += u64::from(decode(&body));
    }
    println!("{read} messages were well-formed");
}

/// Reads the bytes as every kind of message; how many of them they are.
fn decode(body: &[u8]) -> u32 {
    let mut good = 0;
    let mut count = |is_good: bool| good += u32::from(is_good);
    count(frame::head(body).is_ok());
    if let Ok(startup::First::Start(packet)) = startup::First::decode(body) {
        let mut parameters = packet.parameters();
        while let Ok(Some(_)) = parameters.next_pair() {}
        count(true);
    }
    if let Ok(parse) = frontend::Parse::decode(body) {
        count(parse.types().count() <= body.len());
    }
    if let Ok(bind) = bind::Bind::decode(body) {
        count(bind.values().flatten().map(<[u8]>::len).sum::<usize>() <= body.len());
    }
    count(frontend::target(body).is_ok());
    count(frontend::execute(body).is_ok());
    count(frontend::query_text(body).is_ok());
    count(backend::severity(body).is_ok());
    count(backend::parameter_status(body).is_ok());
    count(backend::command_tag(body).is_ok());
    count(rows::parameter_types(body).is_ok_and(|types| types.len() <= body.len()));
    if let Ok(mut fields) = rows::Fields::decode(body) {
        while let Ok(Some(_)) = fields.next_field() {}
    }
    if let Ok(mut values) = rows::Values::decode(body) {
        for _ in 0..values.len() {
            let Ok(value) = values.next_value() else { break };
            let mut out = Vec::new();
            for format in [bind::Format::Text, bind::Format::Binary] {
                rows::bytea(value.unwrap_or_default(), format, &mut out).ok();
            }
            assert!(out.len() <= 2 * body.len() + 8);
        }
    }
    good
}
