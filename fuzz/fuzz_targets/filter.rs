//! Questions of monitors: what is read of a filter or a cursor reads the same again, and deciding
//! never fails.
#![no_main]

use libfuzzer_sys::fuzz_target;
use selvedge_filter::Filter;
use selvedge_follow::{Begin, Cursor, Follow, Question};

fuzz_target!(|text: &str| {
    if let Ok(filter) = Filter::parse(text) {
        assert_eq!(Filter::parse(&filter.to_string()), Ok(filter.clone()));
        assert!(filter.contradiction().is_none() || !text.is_empty());
    }
    if let Ok(cursor) = text.parse::<Cursor>() {
        assert_eq!(cursor.to_string().parse(), Ok(cursor.clone()));
        assert_eq!(Follow::at(&cursor).cursor(), cursor);
    }
    if let Ok(question) = Question::parse(text, None, None)
        && let Begin::At(cursor) = &question.begin
    {
        assert_eq!(cursor.to_string().parse(), Ok(cursor.clone()));
    }
});
