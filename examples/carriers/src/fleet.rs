//! Being a member of a fleet: a node on its bus, and saying where one serves.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, Result};
use selvedge::{Node, NodeOptions};
use selvedge_bus::{LinkOptions, TcpBus};
use selvedge_identity::{KeyRing, ServerName, purpose};
use serde_json::{Map, Value};
use tokio::signal::unix::{SignalKind, signal};

use crate::args::Member;

/// Joins the fleet as a server of this service.
pub(crate) async fn join(member: &Member, service: &str) -> Result<Node> {
    let file = member.data.join("keys");
    let text = std::fs::read_to_string(&file)
        .with_context(|| format!("cannot read the fleet's keys, {}", file.display()))?;
    let keys = KeyRing::parse(&text).with_context(|| format!("key file {}", file.display()))?;
    let bus_key = keys.derive(purpose::BUS, keys.signer());
    let bus_key = bus_key.context("the signing key is in the ring")?;
    let bus = TcpBus::start(member.bus, bus_key, &member.name, LinkOptions::default())?;
    let name = ServerName::new(&member.name)?;
    let journal = member.data.join("journals").join(&member.name);
    let options = NodeOptions::new(name, service, journal, keys);
    Ok(Node::start(options, Arc::new(bus)).await?)
}

/// Says where it serves, waits until it is asked to stop, and stops the node.
pub(crate) async fn serve(
    member: &Member,
    node: &Node,
    ports: &[(&str, SocketAddr)],
) -> Result<()> {
    if let Some(file) = &member.ports_file {
        let ports = ports.iter();
        let ports = ports.map(|(what, at)| ((*what).to_owned(), Value::from(at.to_string())));
        let text = Value::Object(ports.collect::<Map<String, Value>>()).to_string();
        std::fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))?;
    }
    println!("{} serves", node.service());
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    node.stop().await;
    Ok(())
}
