//! Our client program: a viewer's terminal that holds its session itself (A11).
//!
//! A browser is a client of the gateway as it is, by cookies. This one carries the session in
//! headers instead, as a set-top box would: it keeps the tokens that answers bring
//! ([`TokenJar`]), sends them with its next requests, and stores them in a file so that the
//! visit goes on after a restart of the program ([`StateFile`]). [`browse`] walks through the
//! interactive-TV shop and says what it did; [`listen`] takes broadcasts and goes on from them (A10);
//! [`watch`] reads the indications in the channel's video (B8). [`Racer`] lets servers race to this
//! client (C6).
//!
//! The tokens are opaque to it: it can neither read nor forge them, and it compares no clocks.

mod browse;
mod error;
mod jar;
mod listen;
mod plan;
mod race;
mod report;
mod state;
mod step;
mod watch;

pub use browse::{BrowseOptions, Summary, browse};
pub use error::BrowseError;
pub use jar::{Carried, TOKENS_MAX, TokenJar};
pub use listen::{ListenOptions, Source, listen};
pub use race::{
    DnsVerdict, HttpAnswer, RaceAnswer, RaceContent, RaceOptions, RaceResult, Racer, RacerError,
};
pub use state::StateFile;
pub use step::{Step, default_walk};
pub use watch::{Stream, WatchOptions, watch};
