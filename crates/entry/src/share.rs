//! Texts that many records repeat, kept once.
//!
//! Nearly every record names the same few services, hosts, actions and field names. Each reading
//! thread keeps the last text it saw per slot of a small table, so a repeated text costs a hash
//! and a comparison in place of an allocation, and thousands of entries in a memory share it. The
//! table has a fixed size and holds short texts only: strange input makes it miss, no more.

use std::cell::RefCell;

use selvedge_identity::{ParseIdError, ServerName};

use crate::Text;

const SLOTS: usize = 256;
/// The longest text that is worth keeping, in bytes.
const LENGTH_MAX: usize = 64;

thread_local! {
    static TEXTS: RefCell<Vec<Option<Text>>> = RefCell::new(vec![None; SLOTS]);
    static SERVERS: RefCell<Vec<Option<ServerName>>> = RefCell::new(vec![None; SLOTS]);
}

/// The text, shared where it was seen before.
pub(crate) fn text(text: &str) -> Text {
    if text.len() > LENGTH_MAX {
        return text.into();
    }
    TEXTS.with_borrow_mut(|slots| {
        let slot = &mut slots[place(text)];
        match slot {
            Some(held) if **held == *text => held.clone(),
            _ => slot.insert(text.into()).clone(),
        }
    })
}

/// The server's name, shared where it was seen before.
pub(crate) fn server(name: &str) -> Result<ServerName, ParseIdError> {
    SERVERS.with_borrow_mut(|slots| {
        let slot = &mut slots[place(name)];
        match slot {
            Some(held) if held.as_str() == name => Ok(held.clone()),
            _ => Ok(slot.insert(ServerName::new(name)?).clone()),
        }
    })
}

/// A slot by the length and the first and last bytes: enough to spread names that differ in a
/// prefix or a number, and a few instructions.
#[inline]
fn place(text: &str) -> usize {
    let bytes = text.as_bytes();
    let (first, last) = if let (Some(first), Some(last)) =
        (bytes.first_chunk::<8>(), bytes.last_chunk::<8>())
    {
        (u64::from_le_bytes(*first), u64::from_le_bytes(*last))
    } else if let (Some(first), Some(last)) = (bytes.first_chunk::<4>(), bytes.last_chunk::<4>()) {
        let four = |chunk: &[u8; 4]| u64::from(u32::from_le_bytes(*chunk));
        (four(first), four(last))
    } else {
        let fold = |sum, byte: &u8| sum << 8 | u64::from(*byte);
        (bytes.iter().fold(0, fold), 0)
    };
    let mixed =
        (first ^ last.rotate_left(29) ^ bytes.len() as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> 56) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repeated_text_is_shared_and_a_long_one_is_not() {
        let long = "x".repeat(65);
        for (name, shared) in [
            ("", true),
            ("shop", true),
            ("content-1", true),
            (&*long, false),
        ] {
            let first = text(name);
            assert_eq!(&*first, name);
            assert_eq!(Text::ptr_eq(&first, &text(name)), shared, "{name}");
        }
    }

    #[test]
    fn texts_of_one_slot_are_told_apart() {
        for n in 0..2000 {
            let name = format!("host-{n}");
            assert_eq!(&*text(&name), name);
            assert_eq!(server(&name).map(|name| name.to_string()), Ok(name));
        }
        assert!(server("NOT A SERVER").is_err());
    }
}
