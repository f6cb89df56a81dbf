//! Which entries are asked for: a small language of conditions on an entry's fields.
//!
//! Threshold rules, transaction rules and monitors that subscribe over HTTP all say it the same
//! way:
//!
//! ```text
//! action = "POST /vote" and request.choice = yes
//! service = payment and (status >= 500 or duration > 250ms)
//! not caller = gateway and path ~ "/orders/*"
//! choice in (yes, no) and has client
//! ```
//!
//! A [`Filter`] is parsed once, with a message that names the place of a mistake, and then decided
//! per entry without allocation, except where a member of a kept JSON body is asked for. It also
//! tells how much of an entry it must see ([`Needs`]): most are decided as soon as the effect is
//! known, before the answer is out.
//!
//! Pure. Bounded: a text of [`TEXT_MAX`] bytes, [`DEPTH_MAX`] levels of brackets.
//!
//! Requirements: B6, B7, B9.

mod contradiction;
mod field;
mod filter;
mod glance;
mod parse;
mod token;

pub use contradiction::Contradiction;
pub use field::{Field, Needs};
pub use filter::Filter;
pub use parse::{DEPTH_MAX, FilterError, TEXT_MAX};
