#![no_main]
libfuzzer_sys::fuzz_target!(init: trefoil_fuzz::write_seeds("audit"), |data: &[u8]| {
    trefoil_fuzz::audit::run(data);
});
