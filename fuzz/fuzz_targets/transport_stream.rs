//! The packet path: any bytes as a stream, indications placed in it, read again and compared.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| selvedge_video::fuzz_stream(bytes));
