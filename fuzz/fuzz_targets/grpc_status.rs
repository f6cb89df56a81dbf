//! How a gRPC call ended, by headers of another's server: always told, always within bounds.
#![no_main]

use http::{HeaderMap, HeaderValue};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    // The first line is the code, the rest the reason.
    let mut parts = bytes.splitn(2, |&byte| byte == b'\n');
    let mut headers = HeaderMap::new();
    for name in ["grpc-status", "grpc-message"] {
        let value = parts.next().map(HeaderValue::from_bytes);
        if let Some(Ok(value)) = value {
            headers.insert(name, value);
        }
    }
    selvedge::fuzz_grpc_status(&headers);
});
