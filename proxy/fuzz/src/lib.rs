//! What fuzzing runs: one module for each target, with `run`, which takes any bytes and panics where an
//! invariant does not hold, and `seeds`, well-formed input to begin with. The proxy's own tests include
//! this file, and run seeds and kept vectors (`proxy/tests/vectors/`) through the same functions.

pub mod audit;
pub mod authentication;
pub mod backend;
pub mod carriers;
pub mod cells;
pub mod copy;
pub mod corpus;
pub mod frontend;
pub mod jose;
pub mod session;
// Of another program: that one's tests include it.
#[cfg(not(test))]
pub mod sidecar;
pub mod startup;
pub mod statements;
pub mod tenant;
pub mod values;

/// A target. `run` says whether it understood the bytes, as it must its seeds.
pub struct Target {
    /// As the program of cargo-fuzz and the directory of its vectors are called.
    pub name: &'static str,
    /// Reads any bytes.
    pub run: fn(&[u8]) -> bool,
    /// Well-formed input.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// Writes the seeds of a target to a directory of that name where `TREFOIL_FUZZ_CORPUS` says: libFuzzer reads
/// them from there.
#[cfg(not(test))]
pub fn write_seeds(target: &str) {
    let Some(corpus) = std::env::var_os("TREFOIL_FUZZ_CORPUS") else { return };
    let directory = std::path::Path::new(&corpus).join(target);
    std::fs::create_dir_all(&directory).expect("a directory for the corpus");
    for target in TARGETS.iter().filter(|other| other.name == target) {
        for (number, seed) in (target.seeds)().iter().enumerate() {
            std::fs::write(directory.join(format!("seed-{number}")), seed).expect("a seed");
        }
    }
}

macro_rules! targets {
    ($($(#[$when:meta])? $name:ident),*) => { &[$($(#[$when])? Target { name: stringify!($name), run: $name::run, seeds: $name::seeds }),*] };
}

/// All targets.
pub const TARGETS: &[Target] = targets![
    audit,
    authentication,
    backend,
    carriers,
    cells,
    copy,
    frontend,
    jose,
    session,
    #[cfg(not(test))]
    sidecar,
    startup,
    statements,
    values
];

#[cfg(test)]
mod tests {
    use super::TARGETS;
    use std::fs;
    use std::path::Path;

    /// Analysis of deep nesting takes more stack than a test's thread has.
    fn each(test: fn(&super::Target) -> Vec<String>) {
        let run =
            |target| std::thread::Builder::new().stack_size(64 << 20).spawn(move || test(target)).unwrap();
        let threads: Vec<_> = TARGETS.iter().map(run).collect();
        let mut wrong = Vec::new();
        for (target, thread) in TARGETS.iter().zip(threads) {
            wrong.extend(thread.join().unwrap_or_else(|_| vec![format!("{}: a panic", target.name)]));
        }
        assert!(wrong.is_empty(), "{wrong:#?}");
    }

    #[test]
    fn targets_understand_their_seeds() {
        each(|target| {
            let seeds = (target.seeds)();
            assert!(!seeds.is_empty());
            let strange = seeds.iter().filter(|seed| !(target.run)(seed));
            strange.map(|seed| format!("{}: {}", target.name, seed.escape_ascii())).collect()
        });
    }

    #[test]
    fn what_fuzzing_once_found_is_found_no_more() {
        each(|target| {
            let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors").join(target.name);
            for vector in fs::read_dir(directory).into_iter().flatten() {
                let path = vector.unwrap().path();
                println!("{}", path.display());
                (target.run)(&fs::read(&path).unwrap());
            }
            Vec::new()
        });
    }
}
