//! A master file: read or refused with faults; a zone that is served answers well-formed.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| selvedge_dns::fuzz::zone(bytes));
