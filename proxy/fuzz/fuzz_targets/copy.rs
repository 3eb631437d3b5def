#![no_main]
libfuzzer_sys::fuzz_target!(init: trefoil_fuzz::write_seeds("copy"), |data: &[u8]| {
    trefoil_fuzz::copy::run(data);
});
