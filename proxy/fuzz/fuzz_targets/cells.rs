#![no_main]
libfuzzer_sys::fuzz_target!(init: trefoil_fuzz::write_seeds("cells"), |data: &[u8]| {
    trefoil_fuzz::cells::run(data);
});
