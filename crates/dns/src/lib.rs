//! An authoritative name server whose answers may race (C, B4, E5).
//!
//! Zones are standard master files, compiled so that answering is one look into one table and a
//! copy ([`Zones`]). A policy steers chosen names: round robin, chance, load, or the race of the
//! sites for each resolver's network ([`Policy`]). [`Responder`] makes answers of messages, with
//! time and randomness as arguments; [`Server`] is the thin loop around it over UDP and TCP.
//!
//! Whoever has not proven its address gets one answer at most for one query, and equal answers to
//! one network are limited: the server amplifies for nobody.
//!
//! Room for DNSSEC: an answer is a body compiled ahead, so signatures made ahead are more records of
//! it; a raced name's variants are one body for each site, signed alike.

mod authority;
mod body;
mod books;
pub mod build;
pub mod cookie;
mod counts;
pub mod fuzz;
pub mod hash;
mod limit;
mod lookup;
pub mod master;
mod name;
mod options;
mod policy;
mod query;
mod record;
mod respond;
mod server;
mod token;
mod zone;

pub use authority::{Authority, AuthorityOptions, AuthorityParts};
pub use books::{Change, Network, Recent, Sources, Winner, WinnerKey, Winners};
pub use counts::{Count, Counts};
pub use limit::{LimitOptions, Limiter, Verdict};
pub use lookup::{LookupError, lookup};
pub use name::{LABEL_MAX, NAME_MAX, Name, NameError};
pub use options::{
    DnsError, DnsOptions, LimitSection, NameOptions, RaceOptions, SiteOptions, ZoneOptions,
};
pub use policy::{Policy, RaceForm, SITE_MAX, Site, Standing, Standings, Steered, Steering};
pub use query::{Malformed, Query, kind, rcode, read};
pub use record::{Data, Record};
pub use respond::{Now, Reply, Responder, Via};
pub use server::{Server, ServerOptions, TcpOptions};
pub use token::RaceMark;
pub use zone::Zones;
