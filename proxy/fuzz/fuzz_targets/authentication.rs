#![no_main]
libfuzzer_sys::fuzz_target!(init: trefoil_fuzz::write_seeds("authentication"), |data: &[u8]| {
    trefoil_fuzz::authentication::run(data);
});
