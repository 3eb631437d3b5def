#![no_main]
libfuzzer_sys::fuzz_target!(init: trefoil_fuzz::write_seeds("values"), |data: &[u8]| {
    trefoil_fuzz::values::run(data);
});
