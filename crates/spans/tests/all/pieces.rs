//! A long file in pieces says what it says as a whole.

use std::io::Read;

use proptest::prelude::*;
use selvedge_spans::{Piece, PieceError, PieceSizes, Pieces, Span, read};
use serde_json::{Value as Json, json};

/// Gives out a few bytes at a time, as a pipe does.
struct Drops<'a>(&'a [u8], usize);

impl Read for Drops<'_> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let count = self.0.len().min(self.1).min(into.len());
        let (now, later) = self.0.split_at(count);
        into[..count].copy_from_slice(now);
        self.0 = later;
        Ok(count)
    }
}

fn sizes(enough_bytes: usize) -> PieceSizes {
    PieceSizes {
        enough_bytes,
        element_bytes_max: 4096,
    }
}

fn pieces(file: &[u8], enough: usize, drop: usize) -> Vec<Piece> {
    let pieces = Pieces::new(Drops(file, drop), sizes(enough));
    pieces.collect::<Result<_, _>>().expect("readable")
}

/// The spans of all pieces, sorted.
fn spans(pieces: &[Piece]) -> Vec<Span> {
    let read = pieces
        .iter()
        .map(|piece| read(&piece.bytes).expect("a piece reads"));
    let mut spans: Vec<Span> = read.flat_map(|intake| intake.spans).collect();
    spans.sort();
    spans
}

/// A name that would lead astray who did not look for quotes and backslashes.
const NAMES: [&str; 5] = [
    "plain",
    "a\"],}[{",
    "\\",
    "\\\"resourceSpans\":[",
    "}]\u{1f9f5}",
];

fn span(n: usize) -> Json {
    json!({"traceId": format!("{:032x}", n + 1), "spanId": format!("{:016x}", n + 1),
        "name": NAMES[n % NAMES.len()]})
}

fn resource(n: usize) -> Json {
    json!({"scopeSpans": [{"spans": [span(n)]}], "schemaUrl": "[\"data\":["})
}

fn file(form: u8, count: usize, spaces: &str) -> Vec<u8> {
    let all = 0..count;
    let lines = |each: &dyn Fn(usize) -> Json| {
        let lines = (0..count).map(|n| format!("{spaces}{}\n", each(n)));
        lines.collect::<String>()
    };
    let text = match form {
        0 => {
            let zipkin = |n: usize| json!({"traceId": format!("{:x}", n + 1), "id": "a", "name": NAMES[n % NAMES.len()]});
            json!(all.map(zipkin).collect::<Vec<_>>()).to_string()
        }
        1 => json!({"resourceSpans": all.map(resource).collect::<Vec<_>>()}).to_string(),
        2 => lines(&|n| json!({"resourceSpans": [resource(n)]})),
        3 => {
            let trace = |n: usize| {
                json!({"traceID": "a", "processes": {}, "spans": [
                    {"traceID": format!("{:x}", n + 1), "spanID": "b", "operationName": NAMES[n % NAMES.len()]}]})
            };
            json!({"total": 0, "errors": null, "data": all.map(trace).collect::<Vec<_>>(), "more": [1, {"data": [2]}]})
                .to_string()
        }
        // Forms one after the other.
        _ => lines(&|n| match n % 2 {
            0 => json!({"resourceSpans": [resource(n)]}),
            _ => json!([{"traceId": format!("{:x}", n + 1), "id": "a"}]),
        }),
    };
    text.into_bytes()
}

proptest! {
    #[test]
    fn pieces_hold_what_the_whole_holds(
        form in 0..5_u8, count in 1..40_usize, enough in 1..3000_usize, drop in 1..900_usize,
        spaces in "[ \n]{0,3}",
    ) {
        let file = file(form, count, &spaces);
        let whole = spans(&[Piece { bytes: file.clone(), read: 0 }]);
        prop_assert_eq!(whole.len(), count);
        let pieces = pieces(&file, enough, drop);
        prop_assert_eq!(spans(&pieces), whole);
        // None is much longer than it must be, and what was read grows to the file's end.
        let longest = 250 + usize::from(form == 3) * 100;
        if file.len() > enough {
            prop_assert!(pieces.iter().all(|piece| piece.bytes.len() < enough + longest));
        }
        prop_assert!(pieces.is_sorted_by_key(|piece| piece.read));
    }

    #[test]
    fn whatever_comes_ends(input in "[\\[\\]{},:\"a\\\\ 0]{0,60}", enough in 0..20_usize) {
        let pieces = Pieces::new(input.as_bytes(), sizes(enough));
        prop_assert!(pieces.take(1000).count() < 1000);
    }
}

#[test]
fn protobuf_is_split_between_its_messages() {
    let mut file = Vec::new();
    for n in 1..=30_u8 {
        let mut scope = Vec::new();
        crate::encode::message(&mut scope, 2, |out| {
            crate::encode::bytes(out, 1, &[n; 16]);
            crate::encode::bytes(out, 2, &[n; 8]);
            crate::encode::text(out, 5, &"x".repeat(usize::from(n) * 10));
        });
        crate::encode::message(&mut file, 1, |out| crate::encode::bytes(out, 2, &scope));
    }
    let whole = spans(&[Piece {
        bytes: file.clone(),
        read: 0,
    }]);
    assert_eq!(whole.len(), 30);
    for enough in [1, 100, 1000, 100_000] {
        let pieces = pieces(&file, enough, 7);
        assert_eq!(spans(&pieces), whole);
        assert_eq!(
            pieces.last().map(|piece| piece.read),
            Some(file.len() as u64)
        );
    }
    let cut = Pieces::new(&file[..file.len() - 1], sizes(100)).last();
    assert!(matches!(cut, Some(Err(PieceError::Cut(_)))));
}

#[test]
fn what_cannot_be_taken_apart_is_said_so() {
    let fault = |file: &[u8]| {
        let last = Pieces::new(file, sizes(10)).last();
        last.expect("something").expect_err("a fault")
    };
    let long = "x".repeat(5000);
    let large = json!({"resourceSpans": [{"schemaUrl": long}]}).to_string();
    assert!(matches!(
        fault(large.as_bytes()),
        PieceError::TooLarge { .. }
    ));
    assert!(matches!(
        fault(b"{\"resourceSpans\": [{\"schemaUrl\""),
        PieceError::Cut(31)
    ));
    assert!(matches!(
        fault(b"{\"resourceLogs\": [{\"a\": 1}]}"),
        PieceError::Unknown(_)
    ));
    assert!(matches!(
        fault(b"<html>not spans at all</html>"),
        PieceError::Unknown(0)
    ));
    assert!(matches!(
        fault(b"[{\"traceId\": \"1\"}]]]"),
        PieceError::Unknown(18)
    ));
}
