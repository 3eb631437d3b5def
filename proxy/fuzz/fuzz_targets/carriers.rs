#![no_main]
libfuzzer_sys::fuzz_target!(init: trefoil_fuzz::write_seeds("carriers"), |data: &[u8]| {
    trefoil_fuzz::carriers::run(data);
});
