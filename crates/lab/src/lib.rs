//! A wide-area network on one machine, for tests: named hosts, each a network namespace, joined by a
//! star of TUN devices that hold every packet for as long as its path is.
//!
//! One process holds a TUN device in each namespace. What a host sends is read, kept in a heap by
//! the time at which it is due at the other end, and written to the device of whoever has the
//! destination's address. Delay, jitter, loss and reordering of every path come from a [`Plan`] and
//! can be changed while it runs; chance is seeded, so that the n-th packet of a path always fares
//! alike.
//!
//! Nothing is left behind: the namespaces have no names, and are gone with the last thread, socket
//! or process in them, even if the lab is killed. It needs root, `/dev/net/tun` and the `ip` program;
//! [`possible`] says what is missing.
//!
//! Limits: IPv4; one address a host beside those on its loopback; a busy machine delivers late, which
//! [`Lab::lateness`] tells. But never in a wrong order: what a host sends has the kernel's stamp, and
//! is due by that.

mod host;
mod plan;
mod pulse;
mod star;
mod tap;

pub use host::Host;
pub use plan::{HostPlan, PathPlan, Plan, PlanError, Run};
pub use pulse::{Pause, Pulse};
pub use star::{Lateness, Passage, Shape};

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Instant;

use thiserror::Error;

use star::Star;

/// Why there is no lab.
#[derive(Debug, Error)]
pub enum LabError {
    /// This machine or this user cannot have one.
    #[error("no lab: {0}")]
    Impossible(String),
    /// The plan contradicts itself.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The system refused something.
    #[error("lab: {what}: {why}")]
    System {
        /// What was tried.
        what: String,
        /// What it said.
        why: String,
    },
}

pub(crate) fn system(what: impl Into<String>) -> impl FnOnce(&dyn std::fmt::Display) -> LabError {
    let what = what.into();
    move |why| LabError::System {
        what,
        why: why.to_string(),
    }
}

/// Whether there can be a lab here.
///
/// # Errors
/// What is missing, as a sentence for whoever runs the tests.
pub fn possible() -> Result<(), LabError> {
    let missing = |what: &str| Err(LabError::Impossible(what.to_owned()));
    if !nix::unistd::geteuid().is_root() {
        return missing("it needs root, for network namespaces");
    }
    if !std::path::Path::new("/dev/net/tun").exists() {
        return missing("it needs /dev/net/tun");
    }
    for (program, package) in [
        ("ip", "iproute2"),
        ("setpriv", "util-linux"),
        ("unshare", "util-linux"),
    ] {
        if std::process::Command::new(program)
            .arg("--version")
            .output()
            .is_err()
        {
            return missing(&format!("it needs the program `{program}` ({package})"));
        }
    }
    Ok(())
}

/// A running network. It ends when this is dropped.
pub struct Lab {
    hosts: HashMap<String, Host>,
    star: Arc<Star>,
    addresses: HashMap<String, Ipv4Addr>,
}

impl Lab {
    /// Makes the hosts and joins them.
    ///
    /// # Errors
    /// See [`LabError`].
    pub fn start(plan: &Plan) -> Result<Self, LabError> {
        possible()?;
        plan.check()?;
        let mut hosts = HashMap::new();
        let mut devices = Vec::new();
        for host in &plan.hosts {
            let (made, device) = Host::make(host)?;
            hosts.insert(host.name.clone(), made);
            devices.push(device);
        }
        let star = Star::start(plan, devices)?;
        let addresses = plan
            .hosts
            .iter()
            .map(|host| (host.name.clone(), host.address))
            .collect();
        Ok(Self {
            hosts,
            star,
            addresses,
        })
    }

    /// A host by its name.
    ///
    /// # Panics
    /// The plan has none of that name.
    #[must_use]
    pub fn host(&self, name: &str) -> &Host {
        match self.hosts.get(name) {
            Some(host) => host,
            None => panic!("the lab has no host {name}"),
        }
    }

    /// A host's address.
    ///
    /// # Panics
    /// The plan has none of that name.
    #[must_use]
    pub fn address(&self, name: &str) -> Ipv4Addr {
        match self.addresses.get(name) {
            Some(address) => *address,
            None => panic!("the lab has no host {name}"),
        }
    }

    /// Changes one direction of a path from now on. Hosts that the plan does not have are ignored.
    pub fn shape(&self, from: &str, to: &str, shape: Shape) {
        self.star.shape(from, to, shape);
    }

    /// How late packets were delivered so far: what the machine adds to the paths.
    #[must_use]
    pub fn lateness(&self) -> Lateness {
        self.star.lateness()
    }

    /// The packets that were delivered to a host since then, the first first: for a test that asks
    /// what the network saw.
    #[must_use]
    pub fn delivered_since(&self, host: &str, since: Instant) -> Vec<Passage> {
        self.star.delivered_since(host, since)
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.star.stop();
        for host in self.hosts.values() {
            host.nudge();
        }
    }
}
