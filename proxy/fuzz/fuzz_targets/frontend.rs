#![no_main]
libfuzzer_sys::fuzz_target!(init: trefoil_fuzz::write_seeds("frontend"), |data: &[u8]| {
    trefoil_fuzz::frontend::run(data);
});
