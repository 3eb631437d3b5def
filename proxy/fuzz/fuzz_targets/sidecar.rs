#![no_main]
libfuzzer_sys::fuzz_target!(init: trefoil_fuzz::write_seeds("sidecar"), |data: &[u8]| {
    trefoil_fuzz::sidecar::run(data);
});
