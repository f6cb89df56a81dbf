//! Identifiers, request identifiers and session tokens.
//!
//! Everything that names something in Selvedge is a type of its own here, and everything that
//! rides in a header is written and parsed here. The crate is pure: it reads no clock and draws
//! no random number; both are arguments. It knows nothing of entries or of HTTP libraries:
//! carriers take and give header values as bytes.
//!
//! Requirements: A1, A9, D1, D2, D5, D15, E2.

pub mod carrier;
mod client;
mod consumer;
mod epoch;
mod head;
mod interaction;
mod key;
mod ordering;
mod origin;
mod position;
mod request;
mod server;
mod session;
mod stack;
mod token;
mod w3c;
mod wire;

pub use client::{ClientId, ClientTokenError};
pub use consumer::{AuditKey, AuditKeyError, Consumer, Holder};
pub use epoch::Epoch;
pub use head::{HEADS_MAX, Head};
pub use interaction::{Interaction, StackId};
pub use key::{KEYS_MAX, Key, KeyId, KeyRing, KeyRingError, MAC_LENGTH, MacError, purpose};
pub use ordering::OrderingId;
pub use origin::Origin;
pub use position::Position;
pub use request::{DEPTH_MAX, IdentifierError, RequestIdentifier, STACK_MAX, Shape};
pub use server::ServerName;
pub use session::SessionId;
pub use token::{ADDRESS_LENGTH, AddressedHead, address};
pub use token::{SessionToken, TOKENS_MAX, TokenError, Union};
pub use w3c::{StateText, TraceParent, TraceParentError, TraceState, TraceStateError};
pub use wire::{HeaderText, ParseIdError};
