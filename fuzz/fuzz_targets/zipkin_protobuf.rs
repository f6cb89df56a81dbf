//! Spans as Zipkin's protobuf: what is taken is within its bounds, and makes the same tree in
//! reverse order.
#![no_main]

use libfuzzer_sys::fuzz_target;
use selvedge_fuzz::check_spans;
use selvedge_spans::zipkin;

fuzz_target!(|input: &[u8]| {
    if let Ok(intake) = zipkin::from_protobuf(input) {
        check_spans(&intake);
    }
});
