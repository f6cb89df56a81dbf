//! Records of entries: what reads at all is written so that it reads as the same, twice over; and
//! an entry that is folded from it shows as JSON. A glance reads whatever reads.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use selvedge_entry::{Fold, Record};
use selvedge_identity::{Epoch, ServerName};

fuzz_target!(|input: &[u8]| {
    let glance = Record::glance(input);
    let Ok(record) = Record::decode(&Bytes::copy_from_slice(input)) else {
        return;
    };
    assert!(glance.is_ok(), "what reads can be glanced at");
    let mut written = Vec::new();
    record.encode(&mut written);
    let again = Record::decode(&Bytes::from(written.clone()));
    assert_eq!(again.as_ref(), Ok(&record));
    let mut rewritten = Vec::new();
    record.encode(&mut rewritten);
    assert_eq!(written, rewritten);

    let epoch = Epoch {
        counter: 1,
        random: 2,
    };
    let Ok(server) = ServerName::new("a") else {
        return;
    };
    let mut fold = Fold::new(server, epoch);
    if let Some(sequence) = fold.apply(7, record)
        && let Some(entry) = fold.get(sequence)
    {
        let json = entry.to_json();
        assert!(json.is_object());
    }
});
