//! Spans as OTLP protobuf, and files of unknown form. What is taken is within its bounds, and makes
//! the same tree in reverse order.
#![no_main]

use libfuzzer_sys::fuzz_target;
use selvedge_fuzz::check_spans;

fuzz_target!(|input: &[u8]| {
    if let Ok(intake) = selvedge_spans::otlp::from_protobuf(input) {
        check_spans(&intake);
    }
    if let Ok(intake) = selvedge_spans::read(input) {
        check_spans(&intake);
    }
});
