#![no_main]
libfuzzer_sys::fuzz_target!(init: trefoil_fuzz::write_seeds("startup"), |data: &[u8]| {
    trefoil_fuzz::startup::run(data);
});
