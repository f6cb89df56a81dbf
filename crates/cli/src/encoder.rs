//! The content encoder, as a process of its own or within another.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use selvedge_encoder::{EncoderOptions, Output, RunningEncoder};
use selvedge_identity::purpose;
use selvedge_node::{Clock as _, SystemClock};
use selvedge_video::InsertOptions;
use selvedge_video::hls::{Kind, PlaylistOptions};

use crate::admin::{Admin, Metrics};
use crate::args::{self, SignalArgs};
use crate::base::{Base, name};
use crate::bus::Carrier;
use crate::ports::Ports;
use crate::{print, signal, transmit};

/// Where monitors connect.
pub(crate) const LINK: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 7800);

impl SignalArgs {
    fn insert(&self) -> InsertOptions {
        InsertOptions {
            lead_ms: millis(self.lead),
            heartbeat_ms: millis(self.heartbeat),
        }
    }

    fn playlist(&self) -> PlaylistOptions {
        PlaylistOptions {
            kind: if self.hls_event {
                Kind::Event
            } else {
                Kind::Live
            },
            window: usize::from(self.hls_window),
            segment_ms: millis(self.hls_segment).max(1),
        }
    }
}

/// At most a minute: more of any of these is a mistake in the unit.
fn millis(duration: Duration) -> u64 {
    duration.min(Duration::from_secs(60)).as_millis() as u64
}

/// `selvedge encoder`.
pub(crate) async fn encoder(args: args::Encoder) -> Result<()> {
    let base = Base::of_member(&args.member)?;
    let own_name = args.member.name.clone().unwrap_or_else(|| name("encoder"));
    let clock = SystemClock::new(0);
    let to_stdout = args.output.contains(&Output::Stdout);
    let data = base.data.join("encoders").join(own_name.as_str());
    let options = EncoderOptions {
        input: args.input,
        outputs: args.output,
        simulate_source: args.simulate_source,
        clips: args.clip,
        realtime: args.realtime,
        pass_unsupported: args.pass_unsupported,
        insert: args.signal.insert(),
        playlist: args.signal.playlist(),
        listen: args.listen.unwrap_or(LINK),
        link_key: base.key_of(purpose::THRESHOLD),
        data: data.clone(),
        now: Arc::new(move || clock.now()),
    };
    let mut signals = signal::Signals::listen();
    let mut running = selvedge_encoder::start(options).await?;
    let bus = match &args.member.bus {
        Some(_) => Some(Carrier::link(&base, &args.member, own_name.as_str()).await?),
        None => None,
    };
    let carrying = match &bus {
        Some(bus) => Some(transmit::carry(&*bus.bus(), running.carrier(), &data).await?),
        None => None,
    };
    let mut ports = Ports::default();
    ports.add("threshold", running.link_address());
    let admin = match args.admin_listen {
        None => None,
        Some(address) => {
            let mut metrics = Metrics::default();
            show(&running, &mut metrics);
            let admin = Admin::start(address, metrics.router()).await?;
            ports.add("admin", admin.address);
            Some(admin)
        }
    };
    ports.write(args.member.ports_file.as_deref())?;
    let said = format!("encoder serves on {}", running.link_address());
    if to_stdout {
        // Standard output is the stream.
        eprintln!("{said}");
    } else {
        print::text(&format!("{said}\n"))?;
    }
    let ended = tokio::select! {
        ended = running.ended() => ended,
        () = signals.stop_asked() => {
            running.stop().await;
            Ok(())
        }
    };
    if let Some(carrying) = carrying {
        carrying.abort();
    }
    if let Some(bus) = bus {
        bus.stop().await;
    }
    if let Some(admin) = admin {
        admin.stop().await;
    }
    ended.context("encoder")
}

/// Shows an encoder's counters among the metrics.
pub(crate) fn show(encoder: &RunningEncoder, metrics: &mut Metrics) {
    let counts = encoder.counter();
    metrics.more(move || counts().to_prometheus());
}
