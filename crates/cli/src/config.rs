//! The configuration file: one commented example of every key is `config/selvedge.toml`.
//!
//! Everything has a default; a key that does not exist is refused with its line and the nearest
//! key that does.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use selvedge_bus::{Hub, JetStreamBus, JetStreamOptions, Tells};
use selvedge_collector::CollectorOptions;
use selvedge_dns::DnsOptions;
use selvedge_gateway::GatewayOptions;
use selvedge_journal::{Durability, JournalOptions, Retain};
use selvedge_monitor::MonitorError;
use selvedge_monitor::threshold::RuleConfig;
use selvedge_monitor::transaction::{TransactionConfig, TransactionError};
use selvedge_node::{
    Acknowledge, AcknowledgeOptions, IpNet, Keep, MemoryOptions, WaitOptions, private_networks,
};
use selvedge_sidecar::SidecarOptions;
use selvedge_transmit::SenderOptions;
use serde::Deserialize;
use toml::de::{DeTable, DeValue};

use crate::agent::AgentSection;
use crate::identifier::IdentifierSection;
use crate::race::RaceSection;
use crate::thresholds::{self, MonitorSection};
use crate::transactions;

/// The whole file.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Config {
    /// Where journals, repository and keys are kept.
    pub(crate) data: Option<PathBuf>,
    /// The file with the keys that the fleet shares.
    pub(crate) keys: Option<PathBuf>,
    pub(crate) gateway: GatewayOptions,
    pub(crate) sidecar: Option<SidecarOptions>,
    /// Broadcasts over UDP.
    pub(crate) transmitter: SenderOptions,
    pub(crate) bus: BusSection,
    pub(crate) admin: AdminSection,
    pub(crate) repository: RepositorySection,
    pub(crate) collector: CollectorOptions,
    pub(crate) trusted: TrustedSection,
    pub(crate) node: NodeSection,
    pub(crate) identifier: IdentifierSection,
    pub(crate) journal: JournalSection,
    pub(crate) agent: AgentSection,
    pub(crate) keep: Keep,
    /// What is counted, and at which level it crosses.
    #[serde(rename = "threshold")]
    pub(crate) thresholds: Vec<RuleConfig>,
    pub(crate) monitor: MonitorSection,
    /// What entries ask to be done, each exactly once.
    #[serde(rename = "transaction")]
    pub(crate) transactions: Vec<TransactionConfig>,
    /// The name server.
    pub(crate) dns: DnsOptions,
    /// The response race.
    pub(crate) race: RaceSection,
}

/// The back-end network.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct BusSection {
    /// Where the hub listens, apart from the clients.
    pub(crate) listen: SocketAddr,
    /// NATS servers that carry the bus in place of the hub.
    pub(crate) nats: Vec<String>,
    pub(crate) jetstream: JetStreamSection,
}

impl Default for BusSection {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 7600)),
            nats: Vec::new(),
            jetstream: JetStreamSection::default(),
        }
    }
}

impl BusSection {
    /// What the configured bus tells owners of their records.
    fn tells(&self) -> Tells {
        match self.nats.is_empty() {
            true => Hub::TELLS,
            false => JetStreamBus::TELLS,
        }
    }
}

/// How NATS JetStream carries the bus.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct JetStreamSection {
    /// What subjects and streams begin with.
    pub(crate) prefix: String,
    /// On how many NATS servers the streams are kept.
    pub(crate) replicas: usize,
    /// How much JetStream keeps, and for how long.
    pub(crate) retain_bytes: u64,
    pub(crate) retain_age_s: u64,
    /// The file with the seed of an NKey to log in with.
    pub(crate) nkey_file: Option<PathBuf>,
    /// A `.creds` file to log in with.
    pub(crate) credentials: Option<PathBuf>,
    /// Certificates of authorities to trust besides the system's.
    pub(crate) ca: Option<PathBuf>,
    /// This program's certificate and key.
    pub(crate) certificate: Option<PathBuf>,
    pub(crate) certificate_key: Option<PathBuf>,
}

impl Default for JetStreamSection {
    fn default() -> Self {
        let options = JetStreamOptions::new(Vec::new());
        Self {
            prefix: options.prefix,
            replicas: options.replicas,
            retain_bytes: options.retain_bytes,
            retain_age_s: options.retain_age.as_secs(),
            nkey_file: None,
            credentials: None,
            ca: None,
            certificate: None,
            certificate_key: None,
        }
    }
}

impl JetStreamSection {
    /// The options for these NATS servers, without what is read from other files.
    ///
    /// # Errors
    /// What is wrong, and what would be right.
    pub(crate) fn options(&self, servers: Vec<String>) -> Result<JetStreamOptions> {
        let certificate = match (&self.certificate, &self.certificate_key) {
            (Some(certificate), Some(key)) => Some((certificate.clone(), key.clone())),
            (None, None) => None,
            _ => {
                return Err(anyhow!(
                    "bus.jetstream: `certificate` and `certificate_key` go together"
                ));
            }
        };
        let options = JetStreamOptions {
            prefix: self.prefix.clone(),
            replicas: self.replicas,
            retain_bytes: self.retain_bytes,
            retain_age: Duration::from_secs(self.retain_age_s),
            credentials: self.credentials.clone(),
            ca: self.ca.clone(),
            certificate,
            ..JetStreamOptions::new(servers)
        };
        options.check().map_err(|why| anyhow!("bus: {why}"))?;
        Ok(options)
    }
}

/// The query API and the page.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct AdminSection {
    pub(crate) listen: SocketAddr,
    /// Whether it answers everything to those who show no key.
    pub(crate) open: bool,
}

impl Default for AdminSection {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8090)),
            open: true,
        }
    }
}

/// How the repository works.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RepositorySection {
    /// How long nothing comes for a request before its tree is judged.
    pub(crate) quiet_ms: u64,
}

impl Default for RepositorySection {
    fn default() -> Self {
        Self { quiet_ms: 1000 }
    }
}

/// Sources whose `traceparent` and `selvedge-request` are continued; those of others become links.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct TrustedSection {
    /// By the gateway.
    pub(crate) clients: Vec<String>,
    /// By the servers behind it.
    pub(crate) servers: Vec<String>,
}

impl Default for TrustedSection {
    fn default() -> Self {
        let private: Vec<String> = private_networks().iter().map(ToString::to_string).collect();
        Self {
            clients: private.clone(),
            servers: private,
        }
    }
}

impl TrustedSection {
    /// Reads a list of networks.
    ///
    /// # Errors
    /// One that names what is no network.
    pub(crate) fn networks(list: &[String]) -> Result<Vec<IpNet>> {
        let network = |net: &String| {
            net.parse()
                .map_err(|_| anyhow!("trusted: {net:?} is not a network, as in \"10.0.0.0/8\""))
        };
        list.iter().map(network).collect()
    }
}

/// What every server of this program is told.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct NodeSection {
    /// How long a request may wait for the back-end network (E6).
    pub(crate) wait_ms_max: u64,
    /// How many requests may wait at once.
    pub(crate) waiters_max: usize,
    /// How far an effect has to have got before its answer goes out (B2).
    #[serde(deserialize_with = "parsed")]
    pub(crate) acknowledge: Acknowledge,
    /// How long an answer may wait for more than its own journal.
    pub(crate) acknowledge_ms_max: u64,
    /// Bytes of the fleet's history that a server holds.
    pub(crate) memory_bytes_max: usize,
    /// How long it holds an entry, and the state of a session that is idle; 0: no bound.
    pub(crate) memory_age_s: u64,
    /// Bytes of sessions' state that it holds.
    pub(crate) state_bytes_max: usize,
}

/// Reads a value that is written as text.
fn parsed<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: std::str::FromStr<Err: std::fmt::Display>,
{
    let text = String::deserialize(deserializer)?;
    text.parse().map_err(serde::de::Error::custom)
}

impl Default for NodeSection {
    fn default() -> Self {
        let wait = WaitOptions::default();
        let acknowledge = AcknowledgeOptions::default();
        let memory = MemoryOptions::default();
        Self {
            wait_ms_max: wait.longest.as_millis() as u64,
            waiters_max: wait.waiters_max,
            acknowledge: acknowledge.level,
            acknowledge_ms_max: acknowledge.longest.as_millis() as u64,
            memory_bytes_max: memory.bytes_max,
            memory_age_s: memory.age_max.map_or(0, |age| age.as_secs()),
            state_bytes_max: memory.state_bytes_max,
        }
    }
}

impl NodeSection {
    pub(crate) fn wait(&self) -> WaitOptions {
        WaitOptions {
            longest: Duration::from_millis(self.wait_ms_max),
            waiters_max: self.waiters_max,
        }
    }

    pub(crate) fn acknowledge(&self) -> AcknowledgeOptions {
        AcknowledgeOptions {
            level: self.acknowledge,
            longest: Duration::from_millis(self.acknowledge_ms_max),
        }
    }

    /// Whether the bus and the agents of all servers can keep the level.
    fn check(&self, bus: &BusSection, agent: &AgentSection) -> Result<()> {
        let level = self.acknowledge;
        for (section, options) in agent.all() {
            level
                .check(bus.tells(), options.terms())
                .map_err(|why| anyhow!("node.acknowledge is \"{level}\", but {why} ({section})"))?;
        }
        Ok(())
    }

    pub(crate) fn memory(&self) -> MemoryOptions {
        MemoryOptions {
            bytes_max: self.memory_bytes_max,
            age_max: (self.memory_age_s > 0).then(|| Duration::from_secs(self.memory_age_s)),
            state_bytes_max: self.state_bytes_max,
        }
    }
}

/// Every server's journal.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct JournalSection {
    /// What an acknowledged record has survived.
    pub(crate) durability: DurabilityName,
    /// Bytes of one file.
    pub(crate) segment_bytes: u64,
    /// Age of one file.
    pub(crate) segment_age_s: u64,
    /// How long records may lie while nobody waits for them.
    pub(crate) linger_ms: u64,
    /// Bytes that are kept at least; 0 keeps everything.
    pub(crate) retain_bytes: u64,
}

/// How durable a record is before it is acknowledged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum DurabilityName {
    /// After an fdatasync.
    #[default]
    Fdatasync,
    /// With the operating system.
    OperatingSystem,
    /// In memory only.
    Memory,
}

impl Default for JournalSection {
    fn default() -> Self {
        let options = JournalOptions::default();
        Self {
            durability: DurabilityName::default(),
            segment_bytes: options.segment_bytes,
            segment_age_s: options.segment_age.as_secs(),
            linger_ms: options.linger.as_millis() as u64,
            retain_bytes: 0,
        }
    }
}

impl JournalSection {
    pub(crate) fn options(&self) -> JournalOptions {
        JournalOptions {
            durability: match self.durability {
                DurabilityName::Fdatasync => Durability::Sync,
                DurabilityName::OperatingSystem => Durability::Os,
                DurabilityName::Memory => Durability::Memory,
            },
            segment_bytes: self.segment_bytes,
            segment_age: Duration::from_secs(self.segment_age_s),
            linger: Duration::from_millis(self.linger_ms),
            retain: Retain {
                bytes: (self.retain_bytes > 0).then_some(self.retain_bytes),
                ..Retain::default()
            },
            ..JournalOptions::default()
        }
    }
}

/// Reads the file; without one, the defaults.
///
/// # Errors
/// One that names the file, the line, the key and what would be right.
pub(crate) fn load(path: Option<&Path>) -> Result<Config> {
    let Some(path) = path else {
        return Ok(Config::default());
    };
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("cannot read the configuration {}", path.display()))?;
    let config = parse(&text)
        .map_err(|fault| anyhow!("{}:{}: {}", path.display(), fault.line, fault.sentence))?;
    check(&config).map_err(|error| {
        let line = line_of_rule(&text, &error).map_or_else(String::new, |line| format!(":{line}"));
        error.context(format!("{}{line}", path.display()))
    })?;
    config.dns.read_zones(&folder(Some(path)))?;
    Ok(config)
}

/// The folder of the configuration file, or without one the one that the program runs in.
pub(crate) fn folder(path: Option<&Path>) -> PathBuf {
    let folder = path.and_then(Path::parent);
    folder.map_or_else(PathBuf::new, Path::to_owned)
}

/// What is wrong with a configuration, and where.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    line: usize,
    sentence: String,
}

fn parse(text: &str) -> Result<Config, Fault> {
    toml::from_str(text).map_err(|error: toml::de::Error| Fault {
        line: line(text, error.span().map_or(0, |span| span.start)),
        sentence: sentence(error.message()),
    })
}

/// The line of a byte, from 1.
fn line(text: &str, at: usize) -> usize {
    text[..at.min(text.len())].matches('\n').count() + 1
}

/// Where the rule is that an error speaks of: the line of the key that is wrong, or where that is
/// not written, of the rule.
fn line_of_rule(text: &str, error: &anyhow::Error) -> Option<usize> {
    let (section, rule, key) = match error.downcast_ref() {
        Some(MonitorError::Rule(error)) => ("threshold", &error.rule, error.key),
        _ => {
            let error: &TransactionError = error.downcast_ref()?;
            ("transaction", &error.rule, error.key)
        }
    };
    let file = DeTable::parse(text).ok()?;
    let (_, rules) = member(file.get_ref(), section)?;
    let rule = rules.as_array()?.iter().find(|table| {
        let name = table
            .get_ref()
            .as_table()
            .and_then(|table| member(table, "name"));
        name.is_some_and(|(_, name)| name.as_str() == Some(rule))
    })?;
    let (at, _) = member(rule.get_ref().as_table()?, key).unwrap_or((rule.span().start, rules));
    Some(line(text, at))
}

/// Where a key of a table stands, and its value.
fn member<'a, 'i>(table: &'a DeTable<'i>, key: &str) -> Option<(usize, &'a DeValue<'i>)> {
    let (name, value) = table.iter().find(|(name, _)| *name.get_ref() == key)?;
    Some((name.span().start, value.get_ref()))
}

/// Ranges that a type does not hold.
fn check(config: &Config) -> Result<()> {
    config.identifier.check()?;
    TrustedSection::networks(&config.trusted.clients)?;
    TrustedSection::networks(&config.trusted.servers)?;
    config.agent.check()?;
    if !config.bus.nats.is_empty() {
        config.bus.jetstream.options(config.bus.nats.clone())?;
    }
    config.node.check(&config.bus, &config.agent)?;
    let transmitter = config.transmitter.check();
    transmitter.map_err(|fault| anyhow!("transmitter: {fault}"))?;
    let path = &config.gateway.broadcast.path;
    if !path.is_empty() && !path.starts_with('/') {
        return Err(anyhow!(
            "gateway.broadcast.path = {path:?}: a path begins with /; empty, there is no stream"
        ));
    }
    let path = &config.gateway.channel.path;
    if !path.starts_with('/') || path.ends_with('/') {
        return Err(anyhow!(
            "gateway.channel.path = {path:?}: write a path as in \"/selvedge/channel\""
        ));
    }
    thresholds::check(&config.thresholds, &config.monitor)?;
    transactions::check(&config.transactions)?;
    config.dns.check()?;
    config.race.check()?;
    Ok(())
}

/// The transactions that a text of configuration holds.
pub(crate) fn transactions_of(text: &str) -> Result<Vec<TransactionConfig>> {
    let config: Config = toml::from_str(text)?;
    Ok(config.transactions)
}

/// The thresholds that a text of configuration holds.
pub(crate) fn thresholds_of(text: &str) -> Result<Vec<RuleConfig>> {
    let config: Config = toml::from_str(text)?;
    Ok(config.thresholds)
}

/// Makes of serde's "unknown field `x`, expected one of `a`, `b`" a sentence with the nearest key.
fn sentence(message: &str) -> String {
    let mut quoted = message.split('`').skip(1).step_by(2);
    if !message.starts_with("unknown field") {
        return message.to_owned();
    }
    let Some(wrong) = quoted.next() else {
        return message.to_owned();
    };
    let right: Vec<&str> = quoted.collect();
    let distance = |key: &&&str| strsim::damerau_levenshtein(wrong, key);
    match right.iter().min_by_key(distance) {
        Some(near) if distance(&near) <= 1 + wrong.len() / 3 => {
            format!("unknown key {wrong:?}; did you mean {near:?}?")
        }
        _ => format!("unknown key {wrong:?}; there are {}", right.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_key_is_refused_with_its_line_and_the_nearest_key() {
        let fault = parse("[bus]\n\nlisen = \"127.0.0.1:1\"\n").expect_err("refused");
        assert_eq!(fault.line, 3);
        assert_eq!(
            fault.sentence,
            "unknown key \"lisen\"; did you mean \"listen\"?"
        );
    }

    #[test]
    fn an_unknown_section_is_refused_with_the_nearest_section() {
        let fault = parse("[gatway]\n").expect_err("refused");
        assert_eq!(
            fault.sentence,
            "unknown key \"gatway\"; did you mean \"gateway\"?"
        );
    }

    #[test]
    fn a_key_like_no_other_is_refused_with_all_there_are() {
        let fault = parse("[bus]\ncolour = 1\n").expect_err("refused");
        assert_eq!(
            fault.sentence,
            "unknown key \"colour\"; there are listen, nats, jetstream"
        );
    }

    #[test]
    fn a_bus_over_nats_that_cannot_be_is_refused() {
        let said = |text: &str| {
            let config = parse(text).expect("the form is right");
            check(&config).map_err(|error| error.to_string())
        };
        let nats = "[bus]\nnats = [\"nats://10.0.0.1:4222\", \"tls://fleet:secret@b\"]\n";
        assert_eq!(said(nats), Ok(()));
        let error = said("[bus]\nnats = [\"nats://:x\"]\n").expect_err("refused");
        assert!(error.contains("nats://host:4222"), "{error}");
        for wrong in ["prefix = \"a.b\"", "replicas = 6", "certificate = \"c\""] {
            let error = said(&format!("{nats}[bus.jetstream]\n{wrong}\n"));
            assert!(error.expect_err("refused").starts_with("bus"), "{wrong}");
        }
    }

    #[test]
    fn a_level_of_acknowledgement_that_the_bus_or_an_agent_cannot_keep_is_refused() {
        let said = |text: &str| {
            let config = parse(text).expect("the form is right");
            check(&config).map_err(|error| error.to_string())
        };
        assert_eq!(said("[node]\nacknowledge = \"peers:2\""), Ok(()));
        let stores_nothing = said("[node]\nacknowledge = \"bus\"").expect_err("refused");
        assert!(
            stores_nothing.contains("stores nothing"),
            "{stores_nothing}"
        );
        let nats = "[bus]\nnats = [\"nats://a\"]\n[node]\nacknowledge = ";
        assert_eq!(said(&format!("{nats}\"bus\"")), Ok(()));
        assert!(said(&format!("{nats}\"peers:1\"")).is_err());
        let agent = "[agent.servers.payment]\nmode = \"period\"\npeers = \"with-reports\"";
        let late = said(&format!("[node]\nacknowledge = \"peers:1\"\n{agent}"));
        assert!(late.expect_err("refused").contains("agent.servers.payment"));
        let fault = parse("[node]\nacknowledge = \"peer:1\"").expect_err("refused");
        assert!(fault.sentence.contains("\"peers:1\""), "{fault:?}");
    }

    #[test]
    fn a_rule_that_never_fires_is_refused_with_the_line_of_its_key() {
        let line = |text: &str| {
            let error = check(&parse(text).expect("its form is right")).expect_err("refused");
            line_of_rule(text, &error)
        };
        let first = "[[threshold]]\nname = \"fine\"\nraise = 1\n";
        let share = "[[threshold]]\nname = \"x\"\n\nraise = 2\ncount = \"error share\"\n";
        assert_eq!(line(&format!("{first}{share}")), Some(7));
        // Without a name of its own, where the rule begins.
        let unnamed = "[[threshold]]\nraise = 1\nname = \"\"\n";
        assert_eq!(line(&format!("{first}{unnamed}")), Some(6));
        let order = "[[transaction]]\nname = \"x\"\nrun = \" \"\nfilter = \"\"\n";
        assert_eq!(line(&format!("{first}{order}")), Some(6));
    }

    #[test]
    fn the_example_file_is_read_and_says_the_defaults() {
        let text = include_str!("../../../config/selvedge.toml");
        let read = parse(text).expect("the example is valid");
        let default = parse("").expect("empty is valid");
        assert_eq!(format!("{read:?}"), format!("{default:?}"));
    }

    #[test]
    fn the_example_file_shows_every_key() {
        // Every commented-out key, taken in, must still be a key.
        let text = include_str!("../../../config/selvedge.toml");
        let all: String = text
            .lines()
            .map(|line| match line.strip_prefix("#:") {
                Some(key) => format!("{}\n", key.trim_start()),
                None => format!("{line}\n"),
            })
            .collect();
        parse(&all).expect("every shown key exists");
    }
}
