//! What servers broadcast, sent on from here: to the gateway's streams, over UDP, and in the channel's
//! video.
//!
//! It follows the back-end network. How far it has come lies in a file in the data folder, so that
//! what was broadcast while this process was away is sent when it is back.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use selvedge_bus::Bus;
use selvedge_encoder::Carrier;
use selvedge_gateway::Broadcaster;
use selvedge_identity::Position;
use selvedge_node::{Broadcasted, Broadcasts, Node};
use selvedge_transmit::{Message, Sender, SenderCounts};
use selvedge_video::Carried;
use serde_json::Value;
use tokio::task::JoinHandle;

use crate::admin::Metrics;
use crate::base::Base;

/// The file with the positions up to which broadcasts were sent on.
const FILE: &str = "broadcasts.json";

/// Sessions that one part in the channel addresses, at most: so that what is carried stays short.
const ADDRESSED_MAX: usize = 32;

/// Follows and sends. Dropped, it goes on until the program ends.
pub(crate) struct Transmitting {
    sender: Option<Arc<Sender>>,
    following: JoinHandle<()>,
}

impl Transmitting {
    /// Begins; `node` is the gateway's.
    pub(crate) async fn start(
        base: &Base,
        bus: &dyn Bus,
        node: &Node,
        gateway: Broadcaster,
        channel: Option<Carrier>,
    ) -> Result<Self> {
        let options = base.config.transmitter.clone();
        let sender = if options.to.is_empty() {
            None
        } else {
            let run = u64::from_le_bytes(node.random());
            let sender = Sender::start(options, run).await;
            Some(Arc::new(sender.context("transmitter.to")?))
        };
        let file = base.data.join(FILE);
        let from = read(&file);
        let broadcasts = Broadcasts::follow(bus, "transmitter", from).await?;
        let to = sender.clone();
        Ok(Self {
            sender,
            following: tokio::spawn(follow(broadcasts, gateway, to, channel, file)),
        })
    }

    /// Shows what is sent over UDP among the metrics.
    pub(crate) fn show(&self, metrics: &mut Metrics) {
        if let Some(sender) = self.sender.clone() {
            metrics.more(move || text(sender.counts()));
        }
    }

    pub(crate) fn stop(self) {
        self.following.abort();
    }
}

async fn follow(
    mut broadcasts: Broadcasts,
    gateway: Broadcaster,
    sender: Option<Arc<Sender>>,
    channel: Option<Carrier>,
    file: PathBuf,
) {
    while let Some(next) = broadcasts.next().await {
        match next {
            Broadcasted::Message(message) => {
                if let Some(sender) = &sender {
                    sender.send(message.encode());
                }
                if let Some(channel) = &channel {
                    put(channel, &message);
                }
                gateway.tell(message);
            }
            Broadcasted::Gap => gateway.gap(),
        }
        keep(&file, &broadcasts);
    }
}

/// Puts what is broadcast on the bus into the stream of an encoder of its own, until the bus is
/// stopped. `data`: the encoder's folder.
pub(crate) async fn carry(bus: &dyn Bus, channel: Carrier, data: &Path) -> Result<JoinHandle<()>> {
    let file = data.join(FILE);
    let mut broadcasts = Broadcasts::follow(bus, "encoder", read(&file)).await?;
    Ok(tokio::spawn(async move {
        while let Some(next) = broadcasts.next().await {
            if let Broadcasted::Message(message) = next {
                put(&channel, &message);
            }
            keep(&file, &broadcasts);
        }
    }))
}

/// Has a broadcast carried in a channel, and what it says is on now come on.
fn put(channel: &Carrier, message: &Message) {
    if !carried(message).all(|part| channel.carry(part)) {
        tracing::warn!(broadcast = %message.position, "not carried in the channel");
    }
    if let Some(content) = ordered(message)
        && !channel.show(&content)
    {
        tracing::warn!(content, "does not come on in the channel");
    }
}

fn keep(file: &Path, broadcasts: &Broadcasts) {
    if let Err(error) = write(file, &broadcasts.positions()) {
        // What was sent will be sent again after a restart; receivers know it by its name.
        tracing::warn!(file = %file.display(), %error, "cannot keep what was broadcast");
    }
}

/// The content that a broadcast says is on now, as the example shop's orders do.
fn ordered(message: &Message) -> Option<String> {
    if message.broadcast.content_type() != "application/json" {
        return None;
    }
    let said: Value = serde_json::from_slice(message.broadcast.content()).ok()?;
    said["now"]["content"].as_str().map(str::to_owned)
}

/// A broadcast as the channel's video carries it.
fn carried(message: &Message) -> impl Iterator<Item = Carried> {
    let content = str::from_utf8(message.broadcast.content()).ok();
    let parts = message.broadcast.split(ADDRESSED_MAX);
    let count = parts.len() as u16;
    (1..).zip(parts).map(move |(number, broadcast)| Carried {
        broadcast: message.position.to_string(),
        content_type: broadcast.content_type().to_owned(),
        content: content.map(str::to_owned),
        message: Message {
            position: message.position.clone(),
            broadcast,
        }
        .to_base64(),
        part: [number, count],
        pts: 0,
    })
}

fn read(file: &Path) -> Vec<Position> {
    let read = || -> Result<Vec<Position>> {
        if !file.exists() {
            return Ok(Vec::new());
        }
        Ok(serde_json::from_slice(&std::fs::read(file)?)?)
    };
    read().unwrap_or_else(|error| {
        tracing::warn!(file = %file.display(), %error, "broadcasts are followed from now on");
        Vec::new()
    })
}

/// Replaced as a whole; after a power cut an older one means that some is sent again.
fn write(file: &Path, positions: &[Position]) -> std::io::Result<()> {
    let fresh = file.with_extension("part");
    std::fs::write(&fresh, serde_json::to_vec(positions)?)?;
    std::fs::rename(&fresh, file)
}

fn text(counts: SenderCounts) -> String {
    let SenderCounts {
        messages,
        refused,
        datagrams,
        failed,
    } = counts;
    let rows = [
        ("messages", messages),
        ("refused", refused),
        ("datagrams", datagrams),
        ("failed", failed),
    ];
    rows.iter()
        .map(|(name, value)| {
            let name = format!("selvedge_transmitter_{name}_total");
            format!("# TYPE {name} counter\n{name} {value}\n")
        })
        .collect()
}
