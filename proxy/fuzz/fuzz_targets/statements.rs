#![no_main]
libfuzzer_sys::fuzz_target!(init: trefoil_fuzz::write_seeds("statements"), |data: &[u8]| {
    trefoil_fuzz::statements::run(data);
});
