#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| forkpoint_fuzz::lost::lost(data));
