//! A file of spans in pieces: taking it apart ends, within its bounds; and where the whole is read,
//! its pieces are, and hold as many spans.
#![no_main]

use libfuzzer_sys::fuzz_target;
use selvedge_spans::{PieceSizes, Pieces, read};

const SIZES: PieceSizes = PieceSizes {
    enough_bytes: 64,
    element_bytes_max: 1 << 12,
};

fuzz_target!(|input: &[u8]| {
    let mut pieces = Vec::new();
    for piece in Pieces::new(input, SIZES) {
        match piece {
            Ok(piece) => pieces.push(piece.bytes),
            Err(_) => return,
        }
        assert!(pieces.len() <= input.len() + 1);
    }
    let longest = SIZES.enough_bytes + SIZES.element_bytes_max + 100;
    assert!(
        pieces
            .iter()
            .all(|piece| piece.len() <= longest.max(input.len()))
    );
    // Zipkin's parts of one span are merged within a piece only, so there are not fewer.
    if let Ok(whole) = read(input) {
        let read = pieces
            .iter()
            .map(|piece| read(piece).map(|read| read.spans.len() as u64 + read.refused()));
        let read: u64 = read
            .map(|count| count.expect("a piece of what reads, reads"))
            .sum();
        assert!(read >= whole.spans.len() as u64 + whole.refused());
    }
});
