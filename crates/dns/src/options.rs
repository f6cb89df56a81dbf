//! The section `[dns]` of the configuration, and what it is made into.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use ipnet::IpNet;
use serde::Deserialize;

use crate::authority::AuthorityOptions;
use crate::cookie::Secrets;
use crate::limit::LimitOptions;
use crate::master::{self, Fault};
use crate::name::Name;
use crate::policy::{Policy, RaceForm, SITE_MAX, Site, Steered, Steering};
use crate::server::{ServerOptions, TcpOptions};
use crate::zone::Zones;

/// The name server, as it is configured.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DnsOptions {
    /// Where it listens, UDP and TCP alike; nowhere: there is none.
    pub listen: Vec<std::net::SocketAddr>,
    /// Threads for each address's UDP.
    pub threads: usize,
    /// What it calls itself where it is asked to (RFC 5001).
    pub nsid: String,
    /// Bytes of an answer over UDP at most.
    pub udp_bytes_max: usize,
    /// Secrets of cookies, 32 hex digits each: the first makes them, all are taken. None: one that
    /// is derived from the fleet's keys.
    pub cookie_secrets: Vec<String>,
    /// The zones.
    #[serde(rename = "zone")]
    pub zones: Vec<ZoneOptions>,
    /// The places that answers can lead to.
    #[serde(rename = "site")]
    pub sites: Vec<SiteOptions>,
    /// The names whose answers are chosen.
    #[serde(rename = "name")]
    pub names: Vec<NameOptions>,
    /// How names race.
    pub race: RaceOptions,
    /// The limit on equal answers.
    pub limit: LimitSection,
    /// The bounds of TCP.
    pub tcp: TcpOptions,
}

impl Default for DnsOptions {
    fn default() -> Self {
        let server = ServerOptions::default();
        Self {
            listen: server.listen,
            threads: server.threads,
            nsid: String::new(),
            udp_bytes_max: AuthorityOptions::default().udp_bytes_max,
            cookie_secrets: Vec::new(),
            zones: Vec::new(),
            sites: Vec::new(),
            names: Vec::new(),
            race: RaceOptions::default(),
            limit: LimitSection::default(),
            tcp: server.tcp,
        }
    }
}

/// A zone.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ZoneOptions {
    /// Its name.
    pub origin: String,
    /// Its master file.
    pub file: PathBuf,
}

/// A place that answers can lead to.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SiteOptions {
    /// Its name.
    pub name: String,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
}

/// A name whose answers are chosen.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NameOptions {
    /// The name.
    pub name: String,
    /// How they are chosen.
    pub policy: Policy,
    /// Addresses in an answer; one where it races.
    #[serde(default = "one")]
    pub answers: usize,
    /// What a raced answer is.
    #[serde(default)]
    pub form: RaceForm,
}

fn one() -> usize {
    1
}

/// How names race.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RaceOptions {
    /// Networks whose addresses need no proof.
    pub proven: Vec<IpNet>,
    /// Whether others are told once a day to prove theirs over TCP.
    pub bounce: bool,
    /// For how long an answer may be kept that no race has decided.
    pub unraced_ttl_s: u32,
    /// Within which time a question that comes again is answered plainly.
    pub again_ms: u64,
    /// Bits of the networks that have one winner each.
    pub v4_bits: u8,
    /// The same for IPv6.
    pub v6_bits: u8,
}

impl Default for RaceOptions {
    fn default() -> Self {
        let options = AuthorityOptions::default();
        Self {
            proven: options.proven,
            bounce: options.bounce,
            unraced_ttl_s: options.unraced_ttl,
            again_ms: options.again_ms,
            v4_bits: options.v4_bits,
            v6_bits: options.v6_bits,
        }
    }
}

/// The limit on equal answers.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LimitSection {
    /// To one network a second; 0: no limit.
    pub per_s: u32,
    /// Every how many limited answers one is sent cut short; 0: none.
    pub slip: u32,
    /// Bits of an IPv4 network.
    pub v4_bits: u8,
    /// Bits of an IPv6 network.
    pub v6_bits: u8,
    /// Networks that it does not hold for.
    pub unlimited: Vec<IpNet>,
}

impl Default for LimitSection {
    fn default() -> Self {
        let options = AuthorityOptions::default();
        Self {
            per_s: options.limit.per_s,
            slip: options.limit.slip,
            v4_bits: options.limit.v4_bits,
            v6_bits: options.limit.v6_bits,
            unlimited: options.unlimited,
        }
    }
}

/// What is wrong with the section.
#[derive(Debug, thiserror::Error)]
pub enum DnsError {
    /// A key has a value that it cannot have.
    #[error("dns.{key}: {sentence}")]
    Key {
        /// The key.
        key: &'static str,
        /// What is wrong, and what would be right.
        sentence: String,
    },
    /// A zone's file cannot be read.
    #[error("cannot read the zone {file}: {error}")]
    File {
        /// The file.
        file: String,
        /// Why.
        error: std::io::Error,
    },
    /// Zones are wrong.
    #[error("{}", lines(.0))]
    Zones(Vec<Fault>),
}

fn lines(faults: &[Fault]) -> String {
    let lines: Vec<String> = faults.iter().map(ToString::to_string).collect();
    lines.join("\n")
}

fn wrong(key: &'static str, sentence: impl Into<String>) -> DnsError {
    DnsError::Key {
        key,
        sentence: sentence.into(),
    }
}

impl DnsOptions {
    /// Whether everything but the zones' files is right.
    ///
    /// # Errors
    /// What is wrong, by its key.
    pub fn check(&self) -> Result<(), DnsError> {
        self.authority().map(drop)?;
        self.secrets([0; 16]).map(drop)?;
        self.steering().map(drop)?;
        for zone in &self.zones {
            name("zone.origin", &zone.origin)?;
        }
        Ok(())
    }

    /// Where and with how much it serves.
    #[must_use]
    pub fn server(&self) -> ServerOptions {
        ServerOptions {
            listen: self.listen.clone(),
            threads: self.threads,
            tcp: self.tcp,
        }
    }

    /// How it answers.
    ///
    /// # Errors
    /// A value out of its range.
    pub fn authority(&self) -> Result<AuthorityOptions, DnsError> {
        if !(512..=4096).contains(&self.udp_bytes_max) {
            let sentence = "between 512 and 4096; 1232 goes through every network whole";
            return Err(wrong("udp_bytes_max", sentence));
        }
        if self.nsid.len() > 128 {
            return Err(wrong("nsid", "at most 128 bytes"));
        }
        if !(1..=64).contains(&self.threads) {
            return Err(wrong("threads", "between 1 and 64"));
        }
        let LimitSection {
            per_s,
            slip,
            v4_bits,
            v6_bits,
            ..
        } = self.limit;
        for (key, v4, v6) in [
            ("limit", v4_bits, v6_bits),
            ("race", self.race.v4_bits, self.race.v6_bits),
        ] {
            if v4 > 32 || v6 > 128 {
                return Err(wrong(key, "v4_bits is at most 32, v6_bits at most 128"));
            }
        }
        if self.race.unraced_ttl_s > 86_400 || self.race.again_ms > 60_000 {
            let sentence = "unraced_ttl_s is at most 86400, again_ms at most 60000";
            return Err(wrong("race", sentence));
        }
        Ok(AuthorityOptions {
            nsid: self.nsid.clone().into_bytes(),
            udp_bytes_max: self.udp_bytes_max,
            limit: LimitOptions {
                per_s,
                slip,
                v4_bits,
                v6_bits,
            },
            unlimited: self.limit.unlimited.clone(),
            proven: self.race.proven.clone(),
            bounce: self.race.bounce,
            unraced_ttl: self.race.unraced_ttl_s,
            again_ms: self.race.again_ms,
            v4_bits: self.race.v4_bits,
            v6_bits: self.race.v6_bits,
        })
    }

    /// The secrets of cookies; `derived` where none is configured.
    ///
    /// # Errors
    /// One that is not 32 hex digits.
    pub fn secrets(&self, derived: [u8; 16]) -> Result<Secrets, DnsError> {
        let read = |text: &String| {
            let digits = text.len() == 32 && text.is_ascii();
            let pair = |i: usize| u8::from_str_radix(text.get(2 * i..2 * i + 2)?, 16).ok();
            let bytes: Option<Vec<u8>> = (0..16).map(pair).collect();
            let bytes = bytes.filter(|_| digits);
            let secret = bytes.and_then(|bytes| <[u8; 16]>::try_from(bytes).ok());
            secret.ok_or_else(|| wrong("cookie_secrets", "a secret is 32 hex digits"))
        };
        let secrets = self.cookie_secrets.iter().map(read);
        let secrets: Vec<[u8; 16]> = secrets.collect::<Result<_, _>>()?;
        Ok(match secrets.split_first() {
            Some((first, others)) => Secrets::new(*first, others),
            None => Secrets::new(derived, &[]),
        })
    }

    /// The sites and the steered names.
    ///
    /// # Errors
    /// What cannot be, by its key.
    pub fn steering(&self) -> Result<Steering, DnsError> {
        let mut steering = Steering::default();
        for site in &self.sites {
            let letter = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
            let good = (1..=SITE_MAX).contains(&site.name.len()) && site.name.bytes().all(letter);
            if !good {
                let sentence = format!(
                    "{:?}: at most {SITE_MAX} lower-case letters, digits and hyphens",
                    site.name
                );
                return Err(wrong("site.name", sentence));
            }
            for there in &steering.sites {
                if there.name == site.name {
                    return Err(wrong(
                        "site.name",
                        format!("{:?} is given twice", site.name),
                    ));
                }
                let shared = site.addresses.iter().find(|a| there.addresses.contains(a));
                if let Some(address) = shared {
                    let sentence = format!("{address} is of {} and of {}", there.name, site.name);
                    return Err(wrong("site.addresses", sentence));
                }
            }
            steering.sites.push(Site {
                name: site.name.clone(),
                addresses: site.addresses.clone(),
            });
        }
        for options in &self.names {
            let races = options.policy == Policy::Race;
            if options.answers == 0 || (races && options.answers > 1) {
                let sentence = format!("{}: 1 or more, and 1 where it races", options.name);
                return Err(wrong("name.answers", sentence));
            }
            let name = name("name.name", &options.name)?;
            let steered = Steered {
                policy: options.policy,
                answers: options.answers,
                form: options.form,
            };
            if steering.names.insert(name, steered).is_some() {
                return Err(wrong(
                    "name.name",
                    format!("{} is given twice", options.name),
                ));
            }
        }
        Ok(steering)
    }

    /// Reads the zones; files are relative to `folder`.
    ///
    /// # Errors
    /// A file that cannot be read; everything that is wrong in those that can, by file and line.
    pub fn read_zones(&self, folder: &Path) -> Result<Zones, DnsError> {
        let mut masters = Vec::new();
        let mut faults = Vec::new();
        for zone in &self.zones {
            let origin = name("zone.origin", &zone.origin)?;
            let path = folder.join(&zone.file);
            let file = path.display().to_string();
            let text = std::fs::read_to_string(&path).map_err(|error| DnsError::File {
                file: file.clone(),
                error,
            })?;
            let beside = path.parent().unwrap_or(folder).to_owned();
            let mut include = |file: &str| {
                let path = beside.join(file);
                let text = std::fs::read_to_string(&path);
                text.map_err(|error| format!("cannot read {}: {error}", path.display()))
            };
            match master::read(&file, &text, &origin, &mut include) {
                Ok(master) => masters.push((origin, master)),
                Err(found) => faults.extend(found),
            }
        }
        if !faults.is_empty() {
            return Err(DnsError::Zones(faults));
        }
        Zones::new(&masters, &self.steering()?).map_err(DnsError::Zones)
    }
}

/// A name of the configuration; its last dot may be left out.
fn name(key: &'static str, text: &str) -> Result<Name, DnsError> {
    let name = Name::parse(text.as_bytes(), Some(&Name::root()));
    name.map_err(|error| wrong(key, format!("{text:?} is no name: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(text: &str) -> DnsOptions {
        toml::from_str(text).expect("the form is right")
    }

    fn said(text: &str) -> String {
        options(text).check().expect_err("refused").to_string()
    }

    #[test]
    fn what_cannot_be_is_refused_by_its_key() {
        assert!(options("").check().is_ok());
        assert!(said("udp_bytes_max = 100").starts_with("dns.udp_bytes_max: "));
        assert!(said("threads = 0").starts_with("dns.threads: "));
        assert!(said("cookie_secrets = [\"abc\"]").contains("32 hex digits"));
        assert!(said("[limit]\nv4_bits = 33").starts_with("dns.limit: "));
        let site = |name: &str, address: &str| {
            format!("[[site]]\nname = \"{name}\"\naddresses = [\"{address}\"]\n")
        };
        assert!(said(&site("North", "192.0.2.1")).contains("lower-case"));
        assert!(said(&site(&"n".repeat(33), "192.0.2.1")).contains("at most 32"));
        let two = |a: &str, b: &str| site(a, "192.0.2.1") + &site(b, "192.0.2.1");
        assert!(said(&two("n", "n")).contains("twice"));
        assert!(said(&two("n", "m")).contains("192.0.2.1 is of n and of m"));
        let raced = "[[name]]\nname = \"www.example.\"\npolicy = \"race\"\n";
        assert!(said(&format!("{raced}answers = 2")).contains("1 where it races"));
        assert!(said(&raced.repeat(2)).contains("twice"));
        assert!(said(&raced.replace("www", "w..w")).contains("is no name"));
        assert!(said("[[zone]]\norigin = \"a..b\"\nfile = \"f\"").contains("is no name"));
    }

    #[test]
    fn zones_are_read_from_files_beside_each_other() {
        let folder = tempfile::tempdir().expect("a folder");
        let write = |file: &str, text: &str| std::fs::write(folder.path().join(file), text);
        write(
            "zone",
            "$TTL 1m\n@ SOA ns a 1 2 3 4 5\n@ NS ns\n$INCLUDE more\n",
        )
        .expect("written");
        write("more", "ns A 192.0.2.1\n").expect("written");
        let options = options("[[zone]]\norigin = \"example\"\nfile = \"zone\"");
        let zones = options.read_zones(folder.path()).expect("right");
        let read: Vec<(String, u32)> = zones.zones().map(|(n, s)| (n.to_string(), s)).collect();
        assert_eq!(read, [("example.".to_owned(), 1)]);
        write("more", "ns A 192.0.2\n").expect("written");
        let error = options.read_zones(folder.path()).expect_err("wrong");
        assert_eq!(
            error.to_string(),
            "more:1: \"192.0.2\" is not an IPv4 address"
        );
        std::fs::remove_file(folder.path().join("more")).expect("removed");
        let error = options
            .read_zones(folder.path())
            .expect_err("wrong")
            .to_string();
        assert!(error.contains("zone:4: cannot read"), "{error}");
        std::fs::remove_file(folder.path().join("zone")).expect("removed");
        let error = options
            .read_zones(folder.path())
            .expect_err("wrong")
            .to_string();
        assert!(error.contains("cannot read the zone"), "{error}");
    }
}
