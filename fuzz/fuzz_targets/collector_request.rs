//! What senders of spans can send: a compression, a form, bytes. Decompressed they stay within
//! their bound, whatever the input promises; what is taken makes a tree.
#![no_main]

use libfuzzer_sys::fuzz_target;
use selvedge_collector::{Encoding, Fault, Form, decode, decompress};
use selvedge_fuzz::check_spans;

const BYTES_MAX: usize = 1 << 16;

const ENCODINGS: [Encoding; 4] = [
    Encoding::Identity,
    Encoding::Gzip,
    Encoding::Deflate,
    Encoding::Zstd,
];

const FORMS: [Form; 4] = [
    Form::OtlpProtobuf,
    Form::OtlpJson,
    Form::ZipkinProtobuf,
    Form::ZipkinJson,
];

fuzz_target!(|input: &[u8]| {
    let Some((choice, input)) = input.split_first() else {
        return;
    };
    let encoding = ENCODINGS[usize::from(choice & 3)];
    let form = FORMS[usize::from(choice >> 2 & 3)];
    match decompress(encoding, input, BYTES_MAX) {
        Ok(bytes) => {
            assert!(bytes.len() <= BYTES_MAX);
            if let Ok(intake) = decode(form, &bytes) {
                check_spans(&intake);
            }
        }
        Err(Fault::TooLarge { .. } | Fault::Compression(_)) => {}
        Err(other) => panic!("{other}"),
    }
});
