//! From a request's bytes to its spans: compression undone within a bound, then the form read.
//!
//! No I/O and no state, so that one fuzz target covers all that strangers can send.

use std::borrow::Cow;
use std::io::Read;

use flate2::read::{MultiGzDecoder, ZlibDecoder};
use selvedge_spans::{Intake, SpanError, otlp, zipkin};

use crate::Fault;

/// zstd frames may ask for a window of up to 2^27 bytes before anything is read of them. RFC 8878
/// has decoders support 8 MiB, and no encoder's usual levels want more.
const ZSTD_WINDOW_LOG_MAX: u32 = 23;

/// What a request is compressed with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// Nothing.
    Identity,
    /// gzip, of one member or several.
    Gzip,
    /// Deflate in zlib's wrapping, as HTTP means it.
    Deflate,
    /// Zstandard, of one frame or several.
    Zstd,
}

impl Encoding {
    /// By its name in `content-encoding` or `grpc-encoding`; absent is [`Self::Identity`].
    ///
    /// # Errors
    /// A name that is not read here.
    pub fn of_name(name: Option<&str>) -> Result<Self, Fault> {
        let name = name.unwrap_or("").trim();
        match name.to_ascii_lowercase().as_str() {
            "" | "identity" => Ok(Self::Identity),
            "gzip" | "x-gzip" => Ok(Self::Gzip),
            "deflate" => Ok(Self::Deflate),
            "zstd" => Ok(Self::Zstd),
            _ => Err(Fault::Encoding(name.chars().take(64).collect())),
        }
    }
}

/// What a request's bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// An `ExportTraceServiceRequest`.
    OtlpProtobuf,
    /// The same as JSON.
    OtlpJson,
    /// A `ListOfSpans` of Zipkin's.
    ZipkinProtobuf,
    /// A list of Zipkin's spans.
    ZipkinJson,
}

impl Form {
    /// Written as JSON.
    #[must_use]
    pub fn is_json(self) -> bool {
        matches!(self, Self::OtlpJson | Self::ZipkinJson)
    }
}

/// Undoes the compression. Memory is bounded by `bytes_max`, whatever the input promises.
///
/// # Errors
/// When it is broken or cut off, or there would be more than `bytes_max` bytes.
pub fn decompress(
    encoding: Encoding,
    input: &[u8],
    bytes_max: usize,
) -> Result<Cow<'_, [u8]>, Fault> {
    let out = match encoding {
        Encoding::Identity if input.len() > bytes_max => return Err(too_large(bytes_max)),
        Encoding::Identity => return Ok(Cow::Borrowed(input)),
        Encoding::Gzip => bounded(MultiGzDecoder::new(input), "gzip", bytes_max),
        Encoding::Deflate => bounded(ZlibDecoder::new(input), "deflate", bytes_max),
        Encoding::Zstd => {
            let broken = |_| Fault::Compression("zstd");
            let mut decoder = zstd::stream::read::Decoder::new(input).map_err(broken)?;
            decoder
                .window_log_max(ZSTD_WINDOW_LOG_MAX)
                .map_err(broken)?;
            bounded(decoder, "zstd", bytes_max)
        }
    };
    out.map(Cow::Owned)
}

fn bounded(decoder: impl Read, name: &'static str, bytes_max: usize) -> Result<Vec<u8>, Fault> {
    let mut out = Vec::new();
    let limit = bytes_max as u64 + 1;
    let read = decoder.take(limit).read_to_end(&mut out);
    read.map_err(|_| Fault::Compression(name))?;
    if out.len() > bytes_max {
        return Err(too_large(bytes_max));
    }
    Ok(out)
}

fn too_large(bytes_max: usize) -> Fault {
    Fault::TooLarge {
        bytes_max,
        what: " without compression",
    }
}

/// Reads the spans.
///
/// # Errors
/// When nothing of it can be read. Single bad spans are counted in what is returned.
pub fn decode(form: Form, input: &[u8]) -> Result<Intake, SpanError> {
    match form {
        Form::OtlpProtobuf => otlp::from_protobuf(input),
        Form::OtlpJson => otlp::from_json(input),
        Form::ZipkinProtobuf => zipkin::from_protobuf(input),
        Form::ZipkinJson => zipkin::from_json(input),
    }
}
