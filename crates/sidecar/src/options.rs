//! A sidecar's settings, as a configuration file gives them.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use selvedge_relay::{ClientLimits, Limits};
use serde::Deserialize;

use crate::SoapOptions;

/// A sidecar's settings. (Its node's are [`selvedge_node::NodeOptions`].)
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SidecarOptions {
    /// Where it takes the gateway's requests.
    #[serde(default = "listen")]
    pub listen: SocketAddr,
    /// The application behind it, for one `http://127.0.0.1:9100`.
    pub upstream: String,
    /// Where it takes the application's calls: a loopback address.
    #[serde(default = "egress")]
    pub egress: SocketAddr,
    /// Services that the application calls by name: name → base URL.
    #[serde(default)]
    pub routes: BTreeMap<String, String>,
    /// Where it looks into SOAP envelopes.
    #[serde(default)]
    pub soap: SoapOptions,
    /// Where identifiers by reference lie: the admin address of a repository, as a base URL. By
    /// default in this sidecar, which other hosts do not reach.
    #[serde(default)]
    pub references: Option<String>,
    /// Finished requests that late calls and questions can still name.
    #[serde(default = "finished_max")]
    pub finished_max: usize,
    /// Limits of what comes in, on both addresses.
    #[serde(default)]
    pub limits: Limits,
    /// Limits of what goes out, to the application and to other services.
    #[serde(default)]
    pub upstream_limits: ClientLimits,
}

fn listen() -> SocketAddr {
    ([127, 0, 0, 1], 7609).into()
}

fn egress() -> SocketAddr {
    ([127, 0, 0, 1], 7610).into()
}

fn finished_max() -> usize {
    1024
}

impl SidecarOptions {
    /// The defaults (listen on 127.0.0.1:7609, egress 127.0.0.1:7610) before this application.
    #[must_use]
    pub fn new(upstream: impl Into<String>) -> Self {
        Self {
            listen: listen(),
            upstream: upstream.into(),
            egress: egress(),
            routes: BTreeMap::new(),
            soap: SoapOptions::default(),
            references: None,
            finished_max: finished_max(),
            limits: Limits::default(),
            upstream_limits: ClientLimits::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_needs_to_name_the_application_only() {
        let options: SidecarOptions = toml::from_str(
            r#"
            upstream = "http://127.0.0.1:9100"
            [routes]
            catalogue = "http://127.0.0.1:9001"
            "#,
        )
        .unwrap();
        assert_eq!(options.listen.port(), 7609);
        assert_eq!(options.egress.port(), 7610);
        assert_eq!(options.routes["catalogue"], "http://127.0.0.1:9001");
    }

    #[test]
    fn unknown_settings_are_refused_by_name() {
        let text = "upstream = \"http://127.0.0.1:9100\"\negres = \"127.0.0.1:1\"";
        let error = toml::from_str::<SidecarOptions>(text)
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("egres") && error.contains("egress"),
            "{error}"
        );
    }
}
