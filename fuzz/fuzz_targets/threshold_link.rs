//! The threshold link, as an encoder hears it: a stranger's bytes, bytes behind a proof, and the
//! body of a frame.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| selvedge_monitor::link::fuzz_link(bytes));
