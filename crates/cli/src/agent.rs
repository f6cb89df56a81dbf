//! The configuration's `[agent]`: how servers report what they did (D7).
//!
//! One section for all servers of a process, and tables of their own for those that differ, by
//! name.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Result, bail};
use selvedge_identity::ServerName;
use selvedge_node::{AgentMode, AgentOptions};
use serde::Deserialize;

/// How servers report.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct AgentSection {
    /// When.
    pub(crate) mode: ModeName,
    /// How often, on a period.
    pub(crate) period_s: f64,
    /// When peers get what this server did.
    pub(crate) peers: PeersName,
    /// Bytes that wait for the network at most, past the journal.
    pub(crate) memory_bytes_max: usize,
    /// Servers that differ, by name.
    pub(crate) servers: BTreeMap<ServerName, ServerAgent>,
}

/// What is different for one server.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ServerAgent {
    pub(crate) mode: Option<ModeName>,
    pub(crate) period_s: Option<f64>,
    pub(crate) peers: Option<PeersName>,
    pub(crate) memory_bytes_max: Option<usize>,
}

/// When a server reports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum ModeName {
    #[default]
    RealTime,
    Period,
    OnDemand,
    PastJournal,
}

/// When its peers get what it did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum PeersName {
    #[default]
    RealTime,
    WithReports,
}

/// The shortest and the longest period, in seconds.
const PERIOD_S: std::ops::RangeInclusive<f64> = 0.1..=86_400.0;

/// The least room past the journal: a few large records.
const MEMORY_BYTES_MIN: usize = 64 << 10;

impl Default for AgentSection {
    fn default() -> Self {
        Self {
            mode: ModeName::default(),
            period_s: 60.0,
            peers: PeersName::default(),
            memory_bytes_max: 64 << 20,
            servers: BTreeMap::new(),
        }
    }
}

impl AgentSection {
    /// How the server of this name reports.
    pub(crate) fn options(&self, server: &ServerName) -> AgentOptions {
        self.with(&self.servers.get(server).cloned().unwrap_or_default())
    }

    fn with(&self, own: &ServerAgent) -> AgentOptions {
        let mode = match own.mode.unwrap_or(self.mode) {
            ModeName::RealTime => AgentMode::RealTime,
            ModeName::Period => {
                let seconds = own.period_s.unwrap_or(self.period_s);
                AgentMode::Period(Duration::from_secs_f64(seconds))
            }
            ModeName::OnDemand => AgentMode::OnDemand,
            ModeName::PastJournal => AgentMode::PastJournal {
                bytes_max: own.memory_bytes_max.unwrap_or(self.memory_bytes_max),
            },
        };
        AgentOptions {
            mode,
            peers_at_once: own.peers.unwrap_or(self.peers) == PeersName::RealTime,
        }
    }

    /// How all report: the name of the section, and what it comes to.
    pub(crate) fn all(&self) -> Vec<(String, AgentOptions)> {
        let own = |(name, own)| (format!("agent.servers.{name}"), self.with(own));
        let mut all: Vec<_> = self.servers.iter().map(own).collect();
        all.push(("agent".to_owned(), self.with(&ServerAgent::default())));
        all
    }

    /// Says what is out of range.
    ///
    /// # Errors
    /// One that names the key, its value and what it may be.
    pub(crate) fn check(&self) -> Result<()> {
        let own = |(name, own): (&ServerName, &ServerAgent)| {
            let section = format!("agent.servers.{name}");
            (section, own.period_s, own.memory_bytes_max)
        };
        let all = self.servers.iter().map(own);
        let common = (
            "agent".to_owned(),
            Some(self.period_s),
            Some(self.memory_bytes_max),
        );
        for (section, period_s, bytes) in all.chain([common]) {
            if let Some(period_s) = period_s.filter(|period_s| !PERIOD_S.contains(period_s)) {
                let (least, most) = (PERIOD_S.start(), PERIOD_S.end());
                bail!("{section}.period_s is {period_s}; it must be {least} to {most}");
            }
            if let Some(bytes) = bytes.filter(|bytes| *bytes < MEMORY_BYTES_MIN) {
                bail!(
                    "{section}.memory_bytes_max is {bytes}; it must be {MEMORY_BYTES_MIN} at least"
                );
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn section(text: &str) -> AgentSection {
        toml::from_str(text).expect("a section")
    }

    #[test]
    fn a_server_of_its_own_table_differs_where_that_says_so() {
        let section = section(
            "mode = \"period\"\nperiod_s = 5\n[servers.payment]\npeers = \"with-reports\"\n\
             [servers.gateway]\nmode = \"real-time\"",
        );
        section.check().expect("right");
        let of = |name: &str| section.options(&name.parse().expect("a name"));
        let period = AgentMode::Period(Duration::from_secs(5));
        assert_eq!((of("content-1").mode, of("payment").mode), (period, period));
        assert!(of("content-1").peers_at_once && !of("payment").peers_at_once);
        assert_eq!(of("gateway").mode, AgentMode::RealTime);
    }

    #[test]
    fn what_is_out_of_range_is_named() {
        let wrong = |text| section(text).check().expect_err("refused").to_string();
        assert!(wrong("period_s = 0").starts_with("agent.period_s is 0"));
        let said = wrong("[servers.a]\nmemory_bytes_max = 9");
        assert!(said.starts_with("agent.servers.a.memory_bytes_max is 9"));
    }
}
