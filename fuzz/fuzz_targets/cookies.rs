//! Cookie fields: reading ours panics on nothing, and what is passed on holds none of ours and
//! everything else, in a form that reads the same again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use selvedge_gateway::cookies::{Ours, without_ours};

fuzz_target!(|bytes: &[u8]| {
    let ours = Ours::read(bytes.split(|&b| b == b'\n'));
    assert!(ours.slots.iter().all(|(slot, _)| *slot < 16));
    for field in bytes.split(|&b| b == b'\n') {
        let Some(rest) = without_ours(field) else {
            continue;
        };
        assert!(Ours::read([rest.as_slice()]).is_empty());
        assert_eq!(without_ours(&rest).as_deref(), Some(rest.as_slice()));
        assert!(
            rest.len() <= field.len() * 2,
            "at most a space for each semicolon"
        );
    }
});
