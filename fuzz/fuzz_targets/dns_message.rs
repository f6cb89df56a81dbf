//! A message to the name server, as a stranger sends it, over UDP and TCP: whatever comes back is a
//! well-formed answer to it, and no larger than it may be.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| selvedge_dns::fuzz::message(bytes));
