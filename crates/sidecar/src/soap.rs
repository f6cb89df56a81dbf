//! Identifiers in SOAP headers (D5): for applications whose requests reach them, or go on, over
//! what passes envelopes and drops HTTP headers.
//!
//! Only where it is configured, and only for SOAP's content types, an envelope is held in memory
//! (bounded), so that its block can be read and written; everything else streams as ever. A block
//! that came is the request's identifier where no HTTP header is; what goes on, to the
//! application and to its callees, has the identifier in both. An envelope that cannot be read
//! goes on as it came.

use bytes::Bytes;
use selvedge_identity::RequestIdentifier;
use selvedge_identity::carrier::{self, soap};
use selvedge_relay::{Body, BodyError, Length, RequestHead};
use serde::Deserialize;

/// Where a sidecar looks into SOAP envelopes.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct SoapOptions {
    /// The application's SOAP endpoints: paths that begin so. Default none.
    pub paths: Vec<String>,
    /// Services that the application calls over SOAP, by the names of their routes, or hosts.
    /// Default none.
    pub services: Vec<String>,
    /// The longest envelope. A longer one of stated length goes on as it came; one that turns out
    /// longer is answered 413. Default 1 MiB.
    pub envelope_bytes_max: usize,
}

impl Default for SoapOptions {
    fn default() -> Self {
        Self {
            paths: Vec::new(),
            services: Vec::new(),
            envelope_bytes_max: 1024 * 1024,
        }
    }
}

impl SoapOptions {
    /// Whether requests of this path are looked into.
    pub(crate) fn serves(&self, path: &str) -> bool {
        self.paths
            .iter()
            .any(|prefix| path.starts_with(prefix.as_str()))
    }

    /// Whether calls to this service are looked into.
    pub(crate) fn calls(&self, peer: &str) -> bool {
        self.services.iter().any(|service| service == peer)
    }
}

/// Why an envelope was not held: the answer's status, and a few words.
pub(crate) struct Unread {
    pub(crate) status: u16,
    pub(crate) reason: &'static str,
}

/// The whole envelope, where the message has SOAP's content type and is not too long.
pub(crate) async fn envelope(
    head: &RequestHead,
    body: &mut Body,
    max: usize,
) -> Result<Option<Bytes>, Unread> {
    let encoded = head.fields.has("content-encoding");
    let kind = head.fields.get("content-type").unwrap_or_default();
    let kind = kind.split(|&byte| byte == b';').next().unwrap_or_default();
    let kind = kind.trim_ascii();
    let soap = ["text/xml", "application/soap+xml"];
    if encoded
        || !soap
            .iter()
            .any(|soap| kind.eq_ignore_ascii_case(soap.as_bytes()))
    {
        return Ok(None);
    }
    if matches!(body.length(), Length::Known(length) if length > max as u64) {
        return Ok(None);
    }
    let refused = |status, reason| Unread { status, reason };
    match body.collect(max).await {
        Ok(envelope) => Ok(Some(envelope)),
        Err(BodyError::TooLarge) => Err(refused(413, "soap envelope too large")),
        Err(BodyError::Timeout) => Err(refused(408, "soap envelope came too slowly")),
        Err(_) => Err(refused(400, "soap envelope broke off")),
    }
}

/// Puts the envelope's identifier into the header, if there is none. Returns whether the envelope
/// could be read.
pub(crate) fn to_header(envelope: &[u8], head: &mut RequestHead) -> bool {
    match soap::read(envelope) {
        Ok(Some(block)) if !head.fields.has(carrier::REQUEST) => {
            let identifier = RequestIdentifier::parse(block);
            identifier.is_ok_and(|own| head.fields.set(carrier::REQUEST, own.encode().as_bytes()))
        }
        Ok(_) => true,
        Err(_) => false,
    }
}

/// The envelope as it goes on, with this identifier in its SOAP header.
pub(crate) fn marked(envelope: Bytes, identifier: Option<&[u8]>) -> Body {
    let identifier = identifier.and_then(|value| RequestIdentifier::parse(value).ok());
    let marked = identifier.and_then(|own| soap::write(&envelope, &own).ok());
    Body::full(marked.map_or(envelope, Bytes::from))
}
