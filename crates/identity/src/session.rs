//! One client's visit.

use crate::wire::bytes_id;

bytes_id! {
    /// A log session's id, made by the gateway's log server (A4): 16 random bytes, shown as 32
    /// lower-case hex digits. Never all zero.
    pub struct SessionId([u8; 16]) = "session id";
}
