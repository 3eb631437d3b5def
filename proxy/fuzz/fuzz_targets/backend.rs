#![no_main]
libfuzzer_sys::fuzz_target!(init: trefoil_fuzz::write_seeds("backend"), |data: &[u8]| {
    trefoil_fuzz::backend::run(data);
});
