//! Questions to a server's agent: what reads at all is written so that it reads as the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use selvedge_entry::Question;

fuzz_target!(|data: &[u8]| {
    if let Ok(question) = Question::decode(data) {
        let again = Question::decode(&question.encode());
        assert_eq!(again.as_ref(), Ok(&question));
    }
});
