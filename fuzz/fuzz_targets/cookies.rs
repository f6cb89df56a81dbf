//! Cookie fields: reading ours panics on nothing, and what is passed on holds none of ours and
//! everything else, in a form that reads the same again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use selvedge_gateway::cookies::{Ours, set_token, without_ours};

fuzz_target!(|bytes: &[u8]| {
    let ours = Ours::read(bytes.split(|&b| b == b'\n'));
    for (name, _) in &ours.tokens {
        let set = set_token(*name, "t", false);
        let pair = set.split(';').next().unwrap_or_default().as_bytes();
        let back = Ours::read([pair]);
        assert_eq!(back.tokens.as_slice(), [(*name, &b"t"[..])]);
    }
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
