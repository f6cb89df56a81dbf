//! The channel of `selvedge up`: a file played in a loop through an encoder of this process, as HLS
//! that the gateway serves.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use selvedge_encoder::{Carrier, EncoderOptions, Input, Output, RunningEncoder};
use selvedge_identity::purpose;
use selvedge_node::{Clock as _, SystemClock};
use selvedge_video::InsertOptions;
use selvedge_video::hls::{Kind, PlaylistOptions};

use crate::admin::Metrics;
use crate::args::Up;
use crate::base::{Base, port};
use crate::encoder;

/// Short, so that what is placed is soon seen.
const PLAYLIST: PlaylistOptions = PlaylistOptions {
    kind: Kind::Live,
    window: 10,
    segment_ms: 1000,
};

/// An encoder at work on a file.
pub(crate) struct Channel {
    running: RunningEncoder,
    folder: PathBuf,
}

impl Channel {
    /// Starts it, where a stream is given or lies in the data folder.
    pub(crate) async fn start(base: &Base, args: &Up) -> Result<Option<Self>> {
        let found = base.data.join("channel.ts");
        let file: &Path = match &args.channel {
            Some(file) => file,
            None if found.is_file() => &found,
            None if args.clip.is_empty() && args.channel_output.is_empty() => return Ok(None),
            None => bail!("there is no channel for them: --channel FILE.ts"),
        };
        let folder = base.data.join("channel");
        let clock = SystemClock::new(0);
        let options = EncoderOptions {
            input: Input::File(file.to_owned()),
            outputs: [Output::Hls(folder.clone())]
                .into_iter()
                .chain(args.channel_output.iter().cloned())
                .collect(),
            simulate_source: true,
            clips: args.clip.clone(),
            realtime: true,
            pass_unsupported: false,
            insert: InsertOptions::default(),
            playlist: PLAYLIST,
            listen: port(encoder::LINK, args.ephemeral),
            link_key: base.key_of(purpose::THRESHOLD),
            data: base.data.join("encoders").join("channel"),
            now: Arc::new(move || clock.now()),
        };
        let running = selvedge_encoder::start(options)
            .await
            .with_context(|| format!("channel {}", file.display()))?;
        Ok(Some(Self { running, folder }))
    }

    /// Where monitors connect.
    pub(crate) fn link(&self) -> SocketAddr {
        self.running.link_address()
    }

    /// Where its files are.
    pub(crate) fn folder(&self) -> PathBuf {
        self.folder.clone()
    }

    /// Carries broadcasts in the stream.
    pub(crate) fn carrier(&self) -> Carrier {
        self.running.carrier()
    }

    /// Shows its counters among the metrics.
    pub(crate) fn show(&self, metrics: &mut Metrics) {
        encoder::show(&self.running, metrics);
    }

    pub(crate) async fn stop(self) {
        self.running.stop().await;
    }
}
