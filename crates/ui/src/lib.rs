//! The page on the admin port, and that of the interactive channel, as static bytes.
//!
//! Its source is `ui/` (TypeScript); the build script bundles it where Node.js is present, and
//! puts a plain page in its place where not. This crate never serves anything: it only knows what
//! lies at which path.

/// One file of the page.
#[derive(Clone, Copy, Debug)]
pub struct Asset {
    /// Its content type.
    pub content_type: &'static str,
    /// Its entity tag, quoted, as the `ETag` header says it.
    pub etag: &'static str,
    /// Its bytes.
    pub bytes: &'static [u8],
}

const INDEX: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/dist/index.html"));
const SCRIPT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/dist/app.js"));
const STYLE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/dist/app.css"));
const CHANNEL: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/dist/channel.html"));
const CHANNEL_SCRIPT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/dist/channel.js"));
const CHANNEL_STYLE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/dist/channel.css"));
const TAGS: [(&str, &str); 6] = include!(concat!(env!("OUT_DIR"), "/tags.rs"));

/// The file at a path of the admin port, if there is one.
#[must_use]
pub fn asset(path: &str) -> Option<Asset> {
    let (name, content_type, bytes) = match path {
        "/" | "/index.html" => ("index.html", "text/html; charset=utf-8", INDEX),
        "/app.js" => ("app.js", "text/javascript; charset=utf-8", SCRIPT),
        "/app.css" => ("app.css", "text/css; charset=utf-8", STYLE),
        _ => return None,
    };
    find(name, content_type, bytes)
}

/// The file at a path of the interactive channel, if there is one.
#[must_use]
pub fn channel(path: &str) -> Option<Asset> {
    let (name, content_type, bytes) = match path {
        "/channel" => ("channel.html", "text/html; charset=utf-8", CHANNEL),
        "/channel.js" => (
            "channel.js",
            "text/javascript; charset=utf-8",
            CHANNEL_SCRIPT,
        ),
        "/channel.css" => ("channel.css", "text/css; charset=utf-8", CHANNEL_STYLE),
        _ => return None,
    };
    find(name, content_type, bytes)
}

fn find(name: &str, content_type: &'static str, bytes: &'static [u8]) -> Option<Asset> {
    let (_, etag) = TAGS.iter().find(|(file, _)| *file == name)?;
    Some(Asset {
        content_type,
        etag,
        bytes,
    })
}

#[cfg(test)]
mod tests {
    use super::asset;

    #[test]
    fn the_page_names_only_parts_that_are_there() {
        let page = asset("/").expect("a page");
        let text = std::str::from_utf8(page.bytes).expect("text");
        for path in text.split('"').filter(|part| part.starts_with("/app.")) {
            assert!(asset(path).is_some(), "{path}");
        }
        assert!(asset("/src/main.ts").is_none());
    }

    #[test]
    fn entity_tags_are_quoted_and_differ() {
        let tags: Vec<_> = ["/", "/app.js", "/app.css"]
            .map(|path| asset(path).expect("an asset").etag)
            .into();
        assert!(
            tags.iter()
                .all(|tag| tag.starts_with('"') && tag.ends_with('"'))
        );
        assert!(tags[0] != tags[1] && tags[1] != tags[2]);
    }
}
