//! Tests of the real program, from outside: the built binary on free ports, spoken to by HTTP
//! clients that are not ours, its journals read by its own commands.
//!
//! A server under test says on its standard output that it serves; whoever waits for it reads
//! that line. Nothing here sleeps to synchronise, and nothing is retried.

mod program;
mod python;
mod query;
mod races;
mod resolver;
mod server;

pub use program::{binary, example, run, selvedge};
pub use python::{python, root};
pub use query::Query;
pub use races::{dns_counter, until_sites_race};
pub use resolver::{Resolver, ResolverKind, Upstream};
pub use server::{Server, Up};

/// Whether a cookie of this name holds a session's token (`docs/formats/cookies.md`).
#[must_use]
pub fn is_session_cookie(name: &str) -> bool {
    let of_base64 = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    name.strip_prefix("sv")
        .is_some_and(|rest| rest.len() == 6 && rest.chars().all(of_base64))
}
