//! Messages of the bus over NATS JetStream, sealed right: the first byte is the kind, the rest the
//! body. Whatever is read is written and read again.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let [kind, body @ ..] = bytes {
        selvedge_bus::fuzz_sealed(*kind, body);
    }
});
