//! What a lab looks like: a file of hosts, paths and programs.

use std::collections::HashSet;
use std::net::Ipv4Addr;
use std::time::Duration;

use serde::Deserialize;
use thiserror::Error;

use crate::star::Shape;

/// The whole network.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// What chance is drawn from.
    #[serde(default)]
    pub seed: u64,
    /// Who is in it.
    #[serde(rename = "host", default)]
    pub hosts: Vec<HostPlan>,
    /// How far they are from one another; pairs that are not named are joined without delay.
    #[serde(rename = "path", default)]
    pub paths: Vec<PathPlan>,
    /// Programs that `cargo xtask lab` starts.
    #[serde(rename = "run", default)]
    pub runs: Vec<Run>,
}

/// One host.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostPlan {
    /// Its name.
    pub name: String,
    /// Its address in 10.0.0.0/8.
    pub address: Ipv4Addr,
    /// More addresses that packets to which come here. One host only has each.
    #[serde(default)]
    pub also: Vec<Ipv4Addr>,
    /// Addresses on its loopback, from which it may send though packets to them go elsewhere.
    #[serde(default)]
    pub loopback: Vec<Ipv4Addr>,
}

/// A path, both ways.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PathPlan {
    /// One end.
    pub from: String,
    /// The other.
    pub to: String,
    /// One way, in milliseconds.
    pub delay_ms: f64,
    /// The way back, if it is another.
    pub back_ms: Option<f64>,
    /// Up to so much more, by chance.
    #[serde(default)]
    pub jitter_ms: f64,
    /// The share of packets that are lost.
    #[serde(default)]
    pub loss: f64,
    /// The share of packets that later ones may overtake: they take as long again.
    #[serde(default)]
    pub reorder: f64,
}

/// A program on a host.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Run {
    /// Where.
    pub host: String,
    /// The program and its arguments.
    pub command: Vec<String>,
    /// Whether the lab ends with it.
    #[serde(default)]
    pub last: bool,
}

/// A plan that cannot be.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("lab plan: {0}")]
pub struct PlanError(pub String);

impl Plan {
    /// Reads a plan.
    ///
    /// # Errors
    /// What is wrong, with the line.
    pub fn parse(text: &str) -> Result<Self, PlanError> {
        let plan: Self = toml::from_str(text).map_err(|error| PlanError(error.to_string()))?;
        plan.check()?;
        Ok(plan)
    }

    /// Adds a host.
    #[must_use]
    pub fn host(mut self, name: &str, address: [u8; 4]) -> Self {
        let address = Ipv4Addr::from(address);
        self.hosts.push(HostPlan {
            name: name.to_owned(),
            address,
            also: Vec::new(),
            loopback: Vec::new(),
        });
        self
    }

    /// Adds a path that is as long both ways.
    #[must_use]
    pub fn path(mut self, from: &str, to: &str, delay_ms: f64) -> Self {
        self.paths.push(PathPlan {
            from: from.to_owned(),
            to: to.to_owned(),
            delay_ms,
            back_ms: None,
            jitter_ms: 0.0,
            loss: 0.0,
            reorder: 0.0,
        });
        self
    }

    pub(crate) fn check(&self) -> Result<(), PlanError> {
        let wrong = |what: String| Err(PlanError(what));
        let mut names = HashSet::new();
        let mut addresses = HashSet::new();
        if self.hosts.is_empty() || self.hosts.len() > 250 {
            return wrong(format!("{} hosts: there are 1 to 250", self.hosts.len()));
        }
        for host in &self.hosts {
            if host.name.is_empty() || !names.insert(&host.name) {
                return wrong(format!("two hosts {:?}, or one without a name", host.name));
            }
            for address in host.also.iter().chain([&host.address]) {
                if address.octets()[0] != 10 || !addresses.insert(address) {
                    return wrong(format!(
                        "{address} is no address of 10.0.0.0/8, or stands twice"
                    ));
                }
            }
        }
        for path in &self.paths {
            for end in [&path.from, &path.to] {
                if !names.contains(end) {
                    return wrong(format!("a path to {end:?}, which is no host"));
                }
            }
            for share in [path.loss, path.reorder] {
                if !(0.0..=1.0).contains(&share) {
                    return wrong(format!(
                        "a share of {share} on the path {} - {}",
                        path.from, path.to
                    ));
                }
            }
            for time in [path.delay_ms, path.back_ms.unwrap_or(0.0), path.jitter_ms] {
                if !(0.0..=10_000.0).contains(&time) {
                    return wrong(format!("{time} ms on the path {} - {}", path.from, path.to));
                }
            }
        }
        for run in &self.runs {
            if !names.contains(&run.host) || run.command.is_empty() {
                return wrong(format!(
                    "a program on {:?}, which is no host, or no program",
                    run.host
                ));
            }
        }
        Ok(())
    }
}

impl PathPlan {
    /// There and back.
    pub(crate) fn shapes(&self) -> (Shape, Shape) {
        let time = |ms: f64| Duration::from_secs_f64(ms / 1e3);
        let there = Shape {
            delay: time(self.delay_ms),
            jitter: time(self.jitter_ms),
            loss: self.loss,
            reorder: self.reorder,
        };
        (
            there,
            Shape {
                delay: time(self.back_ms.unwrap_or(self.delay_ms)),
                ..there
            },
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_is_read_or_refused_with_what_is_wrong() {
        let plan = Plan::parse(
            "seed = 7\n[[host]]\nname = 'a'\naddress = '10.1.0.1'\n[[host]]\nname = 'b'\naddress = '10.1.0.2'\n\
             [[path]]\nfrom = 'a'\nto = 'b'\ndelay_ms = 5\nback_ms = 7.5\nloss = 0.01\n",
        )
        .expect("right");
        let (there, back) = plan.paths[0].shapes();
        assert_eq!(
            (there.delay, back.delay),
            (Duration::from_millis(5), Duration::from_micros(7_500))
        );
        for (wrong, says) in [
            ("", "0 hosts"),
            (
                "[[host]]\nname = 'a'\naddress = '192.0.2.1'\n",
                "10.0.0.0/8",
            ),
            (
                "[[host]]\nname = 'a'\naddress = '10.0.0.1'\n[[path]]\nfrom = 'a'\nto = 'c'\ndelay_ms = 1\n",
                "no host",
            ),
            (
                "[[host]]\nname = 'a'\naddress = '10.0.0.1'\ncolour = 1\n",
                "colour",
            ),
        ] {
            let error = Plan::parse(wrong).expect_err("refused").to_string();
            assert!(error.contains(says), "{error}");
        }
    }
}
