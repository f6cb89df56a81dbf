//! The transmitter: one answer to many receivers at once (A10).
//!
//! A content server's *broadcast* is content for everybody, with a head for each session that it
//! addresses, sealed so that it is of use to that session alone ([`Broadcast`]). It is written once,
//! into its server's journal; with its place there it is a [`Message`], and that goes out in two
//! ways. Over UDP, multicast or to a list of addresses, it is cut into datagrams, each sent several
//! times ([`Sender`]); a [`Listener`] puts them together again. To browsers it goes as server-sent
//! events ([`event`]), which the gateway serves.
//!
//! Nothing here is trusted by anybody: who can send to the group can show its listeners anything,
//! but can touch no session, because what a receiver gives back is checked by the fleet's keys. What
//! a stranger may send is bounded in bytes, number and time.
//!
//! `docs/formats/broadcast.md` draws the forms, `docs/adr/broadcast-heads.md` weighs who can do
//! what.

mod assemble;
mod broadcast;
mod datagram;
pub mod event;
mod listen;
mod message;
mod read;
mod send;

pub use assemble::{Assembler, AssemblerOptions, Heard};
pub use broadcast::{ADDRESSED_MAX, Broadcast, BroadcastError, CONTENT_MAX, CONTENT_TYPE_MAX};
pub use datagram::{DATAGRAM_MAX, DATAGRAM_MIN, Datagram, DatagramError, cut};
pub use listen::{Listener, bind};
pub use message::Message;
pub use send::{Sender, SenderCounts, SenderOptions};
