//! What an encoder reads, where it sends, and how.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use selvedge_entry::Timestamp;
use selvedge_video::InsertOptions;
use selvedge_video::hls::PlaylistOptions;

use crate::EncoderError;

/// The host's clock.
pub type Now = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// How an encoder works.
#[derive(Clone)]
pub struct EncoderOptions {
    /// What it reads.
    pub input: Input,
    /// Where it sends; each gets everything.
    pub outputs: Vec<Output>,
    /// Plays the input file again and again, as one stream.
    pub simulate_source: bool,
    /// Clips that can come on in such a file, by name.
    pub clips: Vec<(String, PathBuf)>,
    /// Reads a file at the speed of its clock although no output asks for it.
    pub realtime: bool,
    /// Passes on untouched what it cannot place indications in.
    pub pass_unsupported: bool,
    /// How indications are placed.
    pub insert: InsertOptions,
    /// How HLS is made.
    pub playlist: PlaylistOptions,
    /// Where monitors connect.
    pub listen: SocketAddr,
    /// The threshold link's secret.
    pub link_key: [u8; 32],
    /// The folder in which it keeps what it took.
    pub data: PathBuf,
    /// The host's clock.
    pub now: Now,
}

/// Where a stream comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// Standard input.
    Stdin,
    /// A file, or a pipe with a name.
    File(PathBuf),
    /// Datagrams of whole packets, plain or behind an RTP header.
    Udp(Udp),
}

/// Where a stream goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Standard output.
    Stdout,
    /// A file.
    File(PathBuf),
    /// Datagrams of seven packets.
    Udp(Udp),
    /// A folder for segments and playlist.
    Hls(PathBuf),
}

/// An address for datagrams, of one receiver or of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Udp {
    /// The address.
    pub address: SocketAddr,
    /// How many routers a datagram to a group may cross.
    pub ttl: u8,
    /// The interface for a group of IPv4, by its own address; for one of IPv6 it is the address's
    /// scope.
    pub interface: Option<Ipv4Addr>,
}

impl Output {
    /// Whether it must be sent at the speed of the stream's clock.
    #[must_use]
    pub fn is_live(&self) -> bool {
        matches!(self, Self::Udp(_) | Self::Hls(_))
    }
}

impl FromStr for Input {
    type Err = EncoderError;

    fn from_str(text: &str) -> Result<Self, EncoderError> {
        match text.split_once("://") {
            None if text == "-" => Ok(Self::Stdin),
            None => Ok(Self::File(text.into())),
            Some(("udp", rest)) => rest.parse().map(Self::Udp),
            Some(_) => Err(EncoderError::Place(format!(
                "input {text}: write a file, -, or udp://ADDRESS:PORT[?iface=ADDRESS]"
            ))),
        }
    }
}

impl FromStr for Output {
    type Err = EncoderError;

    fn from_str(text: &str) -> Result<Self, EncoderError> {
        match text.split_once("://") {
            None if text == "-" => Ok(Self::Stdout),
            None => Ok(Self::File(text.into())),
            Some(("udp", rest)) => rest.parse().map(Self::Udp),
            Some(("hls", folder)) if !folder.is_empty() => Ok(Self::Hls(folder.into())),
            Some(_) => Err(EncoderError::Place(format!(
                "output {text}: write a file, -, hls://FOLDER, or \
                 udp://ADDRESS:PORT[?ttl=N&iface=ADDRESS]"
            ))),
        }
    }
}

impl FromStr for Udp {
    type Err = EncoderError;

    fn from_str(text: &str) -> Result<Self, EncoderError> {
        let wrong = |what: &str| EncoderError::Place(format!("udp://{text}: {what}"));
        let (address, settings) = text.split_once('?').unwrap_or((text, ""));
        let address = address
            .trim_end_matches('/')
            .parse()
            .map_err(|_| wrong("write an address and a port, as in 239.0.0.1:5000"))?;
        let mut udp = Self {
            address,
            ttl: 1,
            interface: None,
        };
        for setting in settings.split('&').filter(|setting| !setting.is_empty()) {
            match setting.split_once('=') {
                Some(("ttl", ttl)) if udp.is_group() => {
                    udp.ttl = ttl.parse().map_err(|_| wrong("ttl is 0 to 255"))?;
                }
                Some(("iface", own)) if udp.is_group() && udp.address.is_ipv4() => {
                    let own = own.parse();
                    udp.interface =
                        Some(own.map_err(|_| wrong("iface is the interface's IPv4 address"))?);
                }
                Some(("iface", _)) if udp.is_group() => {
                    return Err(wrong(
                        "an interface for IPv6 is a number in the address, as in [ff15::1%2]:5000",
                    ));
                }
                _ => return Err(wrong("there are the settings ttl and iface, for groups")),
            }
        }
        Ok(udp)
    }
}

impl Udp {
    pub(crate) fn is_group(&self) -> bool {
        match self.address.ip() {
            IpAddr::V4(ip) => ip.is_multicast(),
            IpAddr::V6(ip) => ip.is_multicast(),
        }
    }
}

impl fmt::Display for Udp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "udp://{}", self.address)
    }
}

impl fmt::Display for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stdin => f.write_str("-"),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Udp(udp) => udp.fmt(f),
        }
    }
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stdout => f.write_str("-"),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Udp(udp) => udp.fmt(f),
            Self::Hls(folder) => write!(f, "hls://{}", folder.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read_as_they_are_shown_and_others_are_refused() {
        for text in ["-", "in.ts", "udp://239.0.0.1:5000"] {
            let input: Input = text.parse().expect("right");
            assert_eq!(input.to_string(), text);
        }
        let output: Output = "udp://239.0.0.1:5000?ttl=4&iface=127.0.0.1"
            .parse()
            .expect("right");
        let Output::Udp(udp) = &output else {
            panic!("{output}")
        };
        assert!(udp.is_group() && udp.ttl == 4 && udp.interface == Some(Ipv4Addr::LOCALHOST));
        let hls: Output = "hls://a/b".parse().expect("right");
        assert_eq!(hls, Output::Hls("a/b".into()));
        for text in [
            "udp://nobody",
            "udp://1.2.3.4:5?hops=3",
            "udp://1.2.3.4:5?ttl=3",
            "udp://1.2.3.4:5?iface=127.0.0.1",
            "udp://[ff15::1%2]:5?iface=127.0.0.1",
            "srt://1.2.3.4:5",
            "hls://",
        ] {
            assert!(text.parse::<Output>().is_err(), "{text}");
        }
        assert!("hls://a".parse::<Input>().is_err());
    }
}
