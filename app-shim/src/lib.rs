//! The library behind `trefoil-shim`, whose command line is all that it shows; `fuzzed` is for tests.

mod act_for;
mod admin;
mod agent;
mod backend;
mod bind;
mod certificates;
pub mod command;
mod config;
mod data_port;
mod door_one;
mod door_two;
mod envelope;
mod envelopes;
mod frontend;
pub mod fuzzed;
mod http;
mod init;
mod issuer;
#[cfg(feature = "keyring")]
mod keyring;
mod prepared;
mod print;
mod proxy;
mod relay;
mod sealing_key;
mod server;
mod session;
mod settings;
mod shares;
mod socket;
mod startup;
mod state;
mod statement;
mod tenant_key;
mod tka;
mod two_phase;
mod user_bundle;
mod user_from;

#[cfg(test)]
extern crate self as trefoil_shim;
#[cfg(test)]
#[path = "../../proxy/fuzz/src/sidecar.rs"]
#[allow(unreachable_pub, reason = "of a library of its own")]
mod sidecar;

#[cfg(test)]
mod tests {
    use super::sidecar::{run, seeds};
    use std::fs;
    use std::path::Path;

    #[test]
    fn the_fuzz_target_understands_its_seeds() {
        let strange: Vec<_> = seeds().into_iter().filter(|seed| !run(seed)).collect();
        assert!(strange.is_empty(), "{strange:?}");
    }

    #[test]
    fn what_fuzzing_once_found_is_found_no_more() {
        let vectors = Path::new(env!("CARGO_MANIFEST_DIR")).join("../proxy/tests/vectors/sidecar");
        for vector in fs::read_dir(vectors).into_iter().flatten() {
            run(&fs::read(vector.unwrap().path()).unwrap());
        }
    }
}
