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
use tokio::task::JoinHandle;

use crate::admin::Metrics;
use crate::base::Base;

/// The file with the positions up to which broadcasts were sent on.
const FILE: &str = "broadcasts.json";

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
                if let Some(channel) = &channel
                    && !channel.carry(carried(&message))
                {
                    tracing::warn!(broadcast = %message.position, "not carried in the channel");
                }
                gateway.tell(message);
            }
            Broadcasted::Gap => gateway.gap(),
        }
        if let Err(error) = write(&file, &broadcasts.positions()) {
            // What was sent will be sent again after a restart; receivers know it by its name.
            tracing::warn!(file = %file.display(), %error, "cannot keep what was broadcast");
        }
    }
}

/// A broadcast as the channel's video carries it.
fn carried(message: &Message) -> Carried {
    let content = str::from_utf8(message.broadcast.content()).ok();
    Carried {
        broadcast: message.position.to_string(),
        content_type: message.broadcast.content_type().to_owned(),
        content: content.map(str::to_owned),
        message: message.to_base64(),
        pts: 0,
    }
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
