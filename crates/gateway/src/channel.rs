//! The channel: HLS from a folder that an encoder writes (B8), at a path of the gateway's own.
//!
//! Only the encoder's own file names are served, so that no path leads out of the folder. What is
//! asked for here is no request of a session: it is neither logged nor tracked, and any page may
//! ask for it.

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use selvedge_relay::{Body, RequestHead, Response, ResponseHead};
use serde::{Deserialize, Serialize};

/// Bytes of the largest file that is served.
const BYTES_MAX: u64 = 128 << 20;
/// The playlist's name.
const PLAYLIST: &str = "channel.m3u8";

/// Where the channel is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ChannelOptions {
    /// The path below which its files are.
    pub path: String,
    /// The folder that the encoder writes; empty: there is no channel, and all paths are the
    /// servers'.
    pub folder: PathBuf,
}

impl Default for ChannelOptions {
    fn default() -> Self {
        Self {
            path: "/selvedge/channel".to_owned(),
            folder: PathBuf::new(),
        }
    }
}

/// Serves the files.
#[derive(Debug)]
pub(crate) struct Channel {
    options: ChannelOptions,
    pub(crate) served: AtomicU64,
}

/// What is served, and how long it may be kept.
struct Kind {
    content_type: &'static str,
    cache: &'static str,
}

impl Channel {
    pub(crate) fn new(options: ChannelOptions) -> Self {
        Self {
            options,
            served: AtomicU64::new(0),
        }
    }

    /// The file's name in a path of the channel's.
    pub(crate) fn file<'a>(&self, path: &'a str) -> Option<&'a str> {
        if self.options.folder.as_os_str().is_empty() || self.options.path.is_empty() {
            return None;
        }
        path.strip_prefix(self.options.path.as_str())?
            .strip_prefix('/')
    }

    /// Answers a request for a file.
    pub(crate) async fn answer(&self, head: &RequestHead, file: &str) -> Response {
        let mut response = match (head.method(), kind(file)) {
            ("OPTIONS", _) => {
                let mut head = ResponseHead::new(204);
                head.fields
                    .append("access-control-allow-methods", "GET, HEAD");
                head.fields.append("access-control-allow-headers", "range");
                head.fields.append("access-control-max-age", "86400");
                Response {
                    head,
                    body: Body::empty(),
                    tunnel: None,
                }
            }
            ("GET" | "HEAD", Some(kind)) => self.read(head.method(), file, &kind).await,
            ("GET" | "HEAD", None) => Response::text(404, "the channel has no such file\n"),
            _ => {
                let mut response = Response::text(405, "the channel is read by GET\n");
                response.head.fields.append("allow", "GET, HEAD, OPTIONS");
                response
            }
        };
        response
            .head
            .fields
            .append("access-control-allow-origin", "*");
        response
    }

    async fn read(&self, method: &str, file: &str, kind: &Kind) -> Response {
        let path = self.options.folder.join(file);
        let read = async {
            if tokio::fs::metadata(&path).await?.len() > BYTES_MAX {
                return Err(io::Error::other("too large"));
            }
            tokio::fs::read(&path).await
        };
        match read.await {
            Ok(bytes) => {
                self.served.fetch_add(1, Relaxed);
                let mut head = ResponseHead::new(200);
                head.fields.append("content-type", kind.content_type);
                head.fields.append("cache-control", kind.cache);
                let body = if method == "HEAD" {
                    head.declared = Some(bytes.len() as u64);
                    Body::empty()
                } else {
                    Body::full(bytes)
                };
                Response {
                    head,
                    body,
                    tunnel: None,
                }
            }
            Err(error) => {
                // A segment that has left the window, or a channel that has not begun.
                tracing::debug!(path = %path.display(), %error, "a file of the channel is not there");
                let mut response =
                    Response::text(404, "the channel has this file no more, or not yet\n");
                response.head.fields.append("cache-control", "no-store");
                response
            }
        }
    }
}

/// What a file of this name is; `None`: nothing that an encoder writes.
fn kind(file: &str) -> Option<Kind> {
    if file == PLAYLIST {
        return Some(Kind {
            content_type: "application/vnd.apple.mpegurl",
            cache: "no-cache",
        });
    }
    let number = file.strip_prefix("segment-")?.strip_suffix(".ts")?;
    let digits =
        !number.is_empty() && number.len() <= 20 && number.bytes().all(|b| b.is_ascii_digit());
    digits.then_some(Kind {
        content_type: "video/mp2t",
        // A number is given once; but a folder may be emptied, and then it is given anew.
        cache: "public, max-age=60",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn ask(
        channel: &Channel,
        method: &str,
        path: &str,
    ) -> (u16, Option<Vec<u8>>, ResponseHead) {
        let head = RequestHead::new(method, path).expect("a request");
        let file = channel.file(head.path()).expect("the channel's");
        let mut response = channel.answer(&head, file).await;
        let body = response
            .body
            .chunk()
            .await
            .map(|chunk| chunk.expect("read").to_vec());
        (response.head.status, body, response.head)
    }

    #[tokio::test]
    async fn only_the_encoders_files_are_served_with_their_types_and_for_every_page() {
        let folder = tempfile::tempdir().expect("a folder");
        for (name, text) in [
            (PLAYLIST, "#EXTM3U"),
            ("segment-7.ts", "G"),
            ("secret", "s"),
        ] {
            std::fs::write(folder.path().join(name), text).expect("written");
        }
        let channel = Channel::new(ChannelOptions {
            path: "/tv".to_owned(),
            folder: folder.path().to_owned(),
        });
        assert!(channel.file("/tv").is_none() && channel.file("/tvs/channel.m3u8").is_none());
        let (status, body, head) = ask(&channel, "GET", "/tv/channel.m3u8?x=1").await;
        assert_eq!((status, body.as_deref()), (200, Some(&b"#EXTM3U"[..])));
        let field = |head: &ResponseHead, name| {
            let value = head.fields.get(name).unwrap_or_default();
            String::from_utf8_lossy(value).into_owned()
        };
        assert_eq!(
            field(&head, "content-type"),
            "application/vnd.apple.mpegurl"
        );
        assert_eq!(field(&head, "cache-control"), "no-cache");
        assert_eq!(field(&head, "access-control-allow-origin"), "*");
        let (status, _, head) = ask(&channel, "GET", "/tv/segment-7.ts").await;
        assert_eq!(
            (status, field(&head, "content-type").as_str()),
            (200, "video/mp2t")
        );
        let (status, body, head) = ask(&channel, "HEAD", "/tv/segment-7.ts").await;
        assert_eq!((status, body, head.declared), (200, None, Some(1)));
        for path in [
            "/tv/secret",
            "/tv/../secret",
            "/tv/segment-..ts",
            "/tv/segment-8.ts",
            "/tv/",
        ] {
            assert_eq!(ask(&channel, "GET", path).await.0, 404, "{path}");
        }
        assert_eq!(ask(&channel, "OPTIONS", "/tv/segment-7.ts").await.0, 204);
        assert_eq!(ask(&channel, "POST", "/tv/segment-7.ts").await.0, 405);
        assert_eq!(channel.served.load(Relaxed), 3);
        assert!(
            Channel::new(ChannelOptions::default())
                .file("/selvedge/channel/x")
                .is_none()
        );
    }
}
