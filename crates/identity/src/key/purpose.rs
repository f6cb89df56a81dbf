//! What a key is used for. Each purpose gets a key of its own, derived from the fleet's, so a
//! code made for one is worth nothing for another. Purposes are constants, never made of input
//! (BLAKE3's rule for its contexts); a changed protocol takes a new one.

/// Session tokens.
pub const SESSION: &str = "selvedge 2026-11 session token";
/// Client tokens.
pub const CLIENT: &str = "selvedge 2026-11 client token";
/// Links of the bus: who may join the back-end network.
pub const BUS: &str = "selvedge 2026-11 bus link";
/// The threshold link: who may tell an encoder of crossings.
pub const THRESHOLD: &str = "selvedge 2026-11 threshold link";
/// Frames of the race from the master to a replica.
pub const RACE_MASTER: &str = "selvedge 2026-11 race master";
/// Frames of the race from a replica to the master.
pub const RACE_REPLICA: &str = "selvedge 2026-11 race replica";
/// What a client of the race shows to prove its address.
pub const RACE_COOKIE: &str = "selvedge 2026-11 race cookie";
/// Keys with which consumers read their audit.
pub const AUDIT: &str = "selvedge 2026-11 audit key";
/// Heads in broadcasts: the code of each.
pub const ADDRESSED: &str = "selvedge 2026-11 addressed head";
/// Heads in broadcasts: what hides each.
pub const ADDRESSED_STREAM: &str = "selvedge 2026-11 addressed head stream";
/// A session's address in a broadcast. The one purpose whose key is derived from a session's id,
/// which its client knows, instead of the fleet's key.
pub const ADDRESS: &str = "selvedge 2026-11 broadcast address";
/// Cookies of the name server.
pub const DNS_COOKIE: &str = "selvedge 2026-11 dns cookie";
/// Labels of raced aliases: who saw a site's answer.
pub const DNS_RACE: &str = "selvedge 2026-11 dns race label";
