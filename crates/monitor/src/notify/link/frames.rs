//! The frames of a link, and the proof before them.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::{BODY_MAX, LinkError};

const MAGIC: [u8; 5] = *b"SVTL\x01";
const NONCE: usize = 16;
const CODE: usize = 16;
/// How long the rest of a frame may take once its first byte has come.
const FRAME_WITHIN: Duration = Duration::from_secs(5);

/// Which way a frame goes; part of its code.
#[derive(Clone, Copy)]
enum Side {
    Monitor = 0,
    Encoder = 1,
}

/// A proven connection.
pub(super) struct Frames<S> {
    stream: S,
    key: [u8; 32],
    ours: Side,
    theirs: Side,
    sent: u64,
    received: u64,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Frames<S> {
    fn new(stream: S, secret: &[u8; 32], nonces: [[u8; NONCE]; 2], ours: Side) -> Self {
        let mut seed = Vec::with_capacity(2 * NONCE);
        seed.extend_from_slice(&nonces[0]);
        seed.extend_from_slice(&nonces[1]);
        Self {
            stream,
            key: *blake3::keyed_hash(secret, &seed).as_bytes(),
            ours,
            theirs: match ours {
                Side::Monitor => Side::Encoder,
                Side::Encoder => Side::Monitor,
            },
            sent: 0,
            received: 0,
        }
    }

    fn code(&self, side: Side, number: u64, body: &[u8]) -> [u8; CODE] {
        let mut hasher = blake3::Hasher::new_keyed(&self.key);
        hasher.update(&[side as u8]);
        hasher.update(&number.to_le_bytes());
        hasher.update(body);
        let mut code = [0; CODE];
        code.copy_from_slice(&hasher.finalize().as_bytes()[..CODE]);
        code
    }

    pub(super) async fn send(&mut self, body: &[u8]) -> Result<(), LinkError> {
        let length = u32::try_from(body.len())
            .ok()
            .filter(|_| body.len() <= BODY_MAX);
        let length = length.ok_or(LinkError::TooLong(body.len()))?;
        let mut frame = Vec::with_capacity(4 + CODE + body.len());
        frame.extend_from_slice(&length.to_le_bytes());
        frame.extend_from_slice(&self.code(self.ours, self.sent, body));
        frame.extend_from_slice(body);
        self.sent += 1;
        self.stream.write_all(&frame).await?;
        Ok(())
    }

    /// The next frame's body. Waits for its first byte for ever, for the rest not.
    pub(super) async fn receive(&mut self) -> Result<Vec<u8>, LinkError> {
        let mut head = [0; 4 + CODE];
        self.stream.read_exact(&mut head[..1]).await?;
        tokio::time::timeout(FRAME_WITHIN, self.rest(head))
            .await
            .unwrap_or(Err(LinkError::Late))
    }

    async fn rest(&mut self, mut head: [u8; 4 + CODE]) -> Result<Vec<u8>, LinkError> {
        self.stream.read_exact(&mut head[1..]).await?;
        let length = u32::from_le_bytes([head[0], head[1], head[2], head[3]]) as usize;
        if length > BODY_MAX {
            return Err(LinkError::TooLong(length));
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).await?;
        let code = self.code(self.theirs, self.received, &body);
        if !constant_time_eq::constant_time_eq_16(
            &code,
            head[4..].first_chunk().unwrap_or(&[0; CODE]),
        ) {
            return Err(LinkError::Forged);
        }
        self.received += 1;
        Ok(body)
    }
}

/// The monitor's part of the proof; `instance` names it.
pub(super) async fn greet<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    secret: &[u8; 32],
    instance: &str,
) -> Result<Frames<S>, LinkError> {
    let ours = nonce()?;
    let mut hello = MAGIC.to_vec();
    hello.extend_from_slice(&ours);
    stream.write_all(&hello).await?;
    let mut theirs = [0; NONCE];
    stream.read_exact(&mut theirs).await?;
    let mut frames = Frames::new(stream, secret, [ours, theirs], Side::Monitor);
    frames.send(instance.as_bytes()).await?;
    frames.receive().await.map_err(|error| match error {
        // An encoder with another key hangs up without a word.
        LinkError::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof => LinkError::Forged,
        other => other,
    })?;
    Ok(frames)
}

/// The encoder's part of the proof.
pub(super) async fn welcome<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    secret: &[u8; 32],
) -> Result<Frames<S>, LinkError> {
    let mut hello = [0; MAGIC.len() + NONCE];
    stream.read_exact(&mut hello).await?;
    let (magic, theirs) = hello.split_at(MAGIC.len());
    if magic != MAGIC {
        return Err(LinkError::Protocol);
    }
    let theirs = *theirs.first_chunk().ok_or(LinkError::Protocol)?;
    let ours = nonce()?;
    stream.write_all(&ours).await?;
    let mut frames = Frames::new(stream, secret, [theirs, ours], Side::Encoder);
    frames.receive().await?;
    frames.send(b"").await?;
    Ok(frames)
}

fn nonce() -> Result<[u8; NONCE], LinkError> {
    let mut nonce = [0; NONCE];
    getrandom::fill(&mut nonce).map_err(|error| LinkError::Random(error.to_string()))?;
    Ok(nonce)
}
