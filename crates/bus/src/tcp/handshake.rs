//! Both sides prove that they have the fleet's key before anything else is said.
//!
//! Hello (the connecting side's nonce and name), Challenge (the hub's nonce), Proof, Welcome. Each
//! proof is a keyed BLAKE3 hash over who proves, both nonces and the name, so that none can be
//! used again or turned around. The hub answers a stranger with a refusal and nothing that was
//! made with the key. The link is not encrypted: the back-end network is a private one.

use std::time::Duration;

use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};

use super::frame::{FrameError, HANDSHAKE_BODY_MAX, read_frame};
use super::message::Message;

/// Names of links are cut to so many bytes.
pub(crate) const NAME_MAX: usize = 63;

/// Why a handshake failed.
#[derive(Debug, Error)]
pub(crate) enum HandshakeError {
    #[error("refused: {0}")]
    Refused(String),
    #[error("the other side does not have this fleet's key")]
    WrongKey,
    #[error("not in time")]
    Late,
    #[error("handshake: {0}")]
    Frame(#[from] FrameError),
    #[error("no random bytes: {0}")]
    Random(String),
}

/// Who connected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Peer {
    pub(crate) name: String,
    pub(crate) instance: [u8; 16],
}

/// The hub's part.
pub(crate) async fn accept(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    key: &[u8; 32],
    limit: Duration,
) -> Result<Peer, HandshakeError> {
    let handshake = async {
        let Message::Hello {
            nonce: theirs,
            instance,
            name,
        } = receive(stream, limit).await?
        else {
            return Err(FrameError::Content("no greeting").into());
        };
        if name.len() > NAME_MAX || name.chars().any(char::is_control) {
            return Err(FrameError::Content("not a link's name").into());
        }
        let ours = random()?;
        send(stream, &Message::Challenge { nonce: ours }).await?;
        let Message::Proof { mac } = receive(stream, limit).await? else {
            return Err(FrameError::Content("no proof").into());
        };
        let proof = Proof {
            key,
            theirs: &theirs,
            hub: &ours,
            instance: &instance,
            name: &name,
        };
        if proof.mac("connecting") != mac {
            let reason = "wrong key".to_owned();
            send(stream, &Message::Refused { reason }).await?;
            return Err(HandshakeError::WrongKey);
        }
        let mac = *proof.mac("hub").as_bytes();
        send(stream, &Message::Welcome { mac }).await?;
        Ok(Peer { name, instance })
    };
    tokio::time::timeout(limit, handshake)
        .await
        .unwrap_or(Err(HandshakeError::Late))
}

/// The connecting side's part.
pub(crate) async fn greet(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    key: &[u8; 32],
    me: &Peer,
    limit: Duration,
) -> Result<(), HandshakeError> {
    let handshake = async {
        let ours = random()?;
        let hello = Message::Hello {
            nonce: ours,
            instance: me.instance,
            name: me.name.clone(),
        };
        send(stream, &hello).await?;
        let hub = match receive(stream, limit).await? {
            Message::Challenge { nonce } => nonce,
            Message::Refused { reason } => return Err(HandshakeError::Refused(reason)),
            _ => return Err(FrameError::Content("no challenge").into()),
        };
        let proof = Proof {
            key,
            theirs: &ours,
            hub: &hub,
            instance: &me.instance,
            name: &me.name,
        };
        let mac = *proof.mac("connecting").as_bytes();
        send(stream, &Message::Proof { mac }).await?;
        match receive(stream, limit).await? {
            Message::Welcome { mac } if proof.mac("hub") == mac => Ok(()),
            Message::Welcome { .. } => Err(HandshakeError::WrongKey),
            Message::Refused { reason } => Err(HandshakeError::Refused(reason)),
            _ => Err(FrameError::Content("no welcome").into()),
        }
    };
    tokio::time::timeout(limit, handshake)
        .await
        .unwrap_or(Err(HandshakeError::Late))
}

/// What a proof is made over.
struct Proof<'a> {
    key: &'a [u8; 32],
    theirs: &'a [u8; 32],
    hub: &'a [u8; 32],
    instance: &'a [u8; 16],
    name: &'a str,
}

impl Proof<'_> {
    /// Compared in constant time by `blake3::Hash`.
    fn mac(&self, side: &str) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new_keyed(self.key);
        hasher.update(b"selvedge bus 1, proof of the ");
        hasher.update(side.as_bytes());
        hasher.update(b" side\0");
        hasher.update(self.theirs);
        hasher.update(self.hub);
        hasher.update(self.instance);
        hasher.update(self.name.as_bytes());
        hasher.finalize()
    }
}

/// Fresh random bytes of the system.
pub(crate) fn random<const N: usize>() -> Result<[u8; N], HandshakeError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|e| HandshakeError::Random(e.to_string()))?;
    Ok(bytes)
}

async fn receive(
    stream: &mut (impl AsyncRead + Unpin),
    limit: Duration,
) -> Result<Message, FrameError> {
    Message::parse(&read_frame(stream, HANDSHAKE_BODY_MAX, limit).await?)
}

async fn send(stream: &mut (impl AsyncWrite + Unpin), message: &Message) -> Result<(), FrameError> {
    let mut bytes = Vec::new();
    message.frame(0).write(&mut bytes);
    stream.write_all(&bytes).await?;
    Ok(())
}
