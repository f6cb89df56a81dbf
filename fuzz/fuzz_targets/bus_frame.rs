//! Frames of the bus. The first byte chooses: the rest is a whole frame, or the body of one of that
//! kind (so that inputs get past the checksum). Whatever parses is written and parsed again.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    match bytes {
        [255, frame @ ..] => selvedge_bus::fuzz_frame(frame),
        [kind, body @ ..] => selvedge_bus::fuzz_body(*kind, body),
        [] => {}
    }
});
