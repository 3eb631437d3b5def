#![no_main]
libfuzzer_sys::fuzz_target!(init: trefoil_fuzz::write_seeds("session"), |data: &[u8]| {
    trefoil_fuzz::session::run(data);
});
