#![no_main]
libfuzzer_sys::fuzz_target!(init: trefoil_fuzz::write_seeds("jose"), |data: &[u8]| {
    trefoil_fuzz::jose::run(data);
});
