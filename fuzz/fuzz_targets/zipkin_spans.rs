//! Spans as Zipkin's and Jaeger's JSON: parts that are merged, ids that are shared.
#![no_main]

use libfuzzer_sys::fuzz_target;
use selvedge_fuzz::check_spans;

fuzz_target!(|input: &[u8]| {
    if let Ok(intake) = selvedge_spans::zipkin::from_json(input) {
        check_spans(&intake);
    }
    if let Ok(intake) = selvedge_spans::jaeger::from_json(input) {
        check_spans(&intake);
    }
});
