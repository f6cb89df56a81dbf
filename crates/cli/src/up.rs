//! `selvedge up`: every part in one process.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result};
use selvedge_bus::{Bus, HubOptions};
use selvedge_example_shop::{self as shop, Running, Services, ShopOptions};
use selvedge_gateway::{Gateway, RunningGateway, UpstreamOptions};
use selvedge_identity::ServerName;
use selvedge_node::{Keep, MemoryOptions, Node};
use selvedge_repository::Repository;
use selvedge_sidecar::{RunningSidecar, Sidecar, SidecarOptions};

use crate::admin::{Admin, Metrics};
use crate::args::Up;
use crate::base::{Base, Server, any_port, name, port};
use crate::bus::Carrier;
use crate::channel::Channel;
use crate::collect::Collecting;
use crate::dns::Naming;
use crate::monitors::{Defaults, Monitors};
use crate::ports::Ports;
use crate::print::{self, DIM, NAME, styled};
use crate::race::{Beside, Racing};
use crate::transmit::Transmitting;
use crate::{config, dns, signal};

/// Example content servers, unless told otherwise.
const SERVERS: u16 = 3;

/// What runs.
struct Whole {
    carrier: Carrier,
    collecting: Collecting,
    gateway: RunningGateway,
    admin: Admin,
    backs: Backs,
    nodes: Vec<Node>,
    monitors: Monitors,
    transmitting: Transmitting,
    naming: Option<Naming>,
    racing: Option<Racing>,
    channel: Option<Channel>,
}

/// What stands behind the gateway.
#[derive(Default)]
struct Backs {
    shops: Vec<Running>,
    sidecars: Vec<RunningSidecar>,
    /// Where the gateway sends requests.
    upstreams: Vec<(ServerName, String)>,
    nodes: Vec<Node>,
}

pub(crate) async fn up(args: Up) -> Result<()> {
    let mut base = Base::new(args.data.as_deref(), None, args.config.as_deref())?;
    base.skews.clone_from(&args.test_clock_skew);
    let (running, ports, banner) = start(&base, &args).await?;
    let mut signals = signal::Rereading::listen();
    ports.write(args.ports_file.as_deref())?;
    print::text(&banner)?;
    let reread = || {
        let configured = !base.config.dns.zones.is_empty();
        if let Some(naming) = running.naming.as_ref().filter(|_| configured) {
            dns::reread(naming.authority(), args.config.as_deref());
        }
    };
    signals.until_stopped(reread).await;
    stop(running).await;
    Ok(())
}

async fn start(base: &Base, args: &Up) -> Result<(Whole, Ports, String)> {
    let config = &base.config;
    let mut ports = Ports::default();
    let options = HubOptions {
        delay: args.test_bus_delay.unwrap_or_default(),
        ..HubOptions::default()
    };
    let listen = port(config.bus.listen, args.ephemeral);
    let carrier = Carrier::host(base, None, "up", listen, options).await?;
    let bus = carrier.bus();
    let repository = Repository::start(base.repository(), bus.clone())
        .await
        .context("repository")?;
    let backs = if args.upstream.is_empty() {
        example_servers(base, args, &bus).await?
    } else {
        sidecars(base, &args.upstream, &bus).await?
    };
    let monitored = bus.clone();
    let followed = bus.clone();
    let gateway_node = base.node(base.gateway(name("gateway")), bus).await?;
    let channel = Channel::start(base, args).await?;
    let mut options = config.gateway.clone();
    if let Some(channel) = &channel {
        options.channel.folder = channel.folder();
    }
    for listen in &mut options.listen {
        *listen = port(*listen, args.ephemeral);
    }
    for (server, url) in &backs.upstreams {
        let upstream = UpstreamOptions::named(server.as_str(), url);
        options.upstreams.push(upstream);
    }
    let gateway = Gateway::start(options, gateway_node.clone())
        .await
        .context("gateway")?;
    let broadcaster = gateway.broadcaster();
    let carrier_of = channel.as_ref().map(Channel::carrier);
    let transmitting =
        Transmitting::start(base, &*followed, &gateway_node, broadcaster, carrier_of).await?;
    let mut nodes = backs.nodes.clone();
    nodes.push(gateway_node);
    let mut metrics = Metrics::default();
    for node in &nodes {
        metrics.node(node);
    }
    metrics.bus(&carrier);
    let counts = gateway.metrics();
    metrics.more(move || counts.counts().to_prometheus());
    transmitting.show(&mut metrics);
    let examples = match args.upstream.is_empty() {
        true => backs.upstreams.len(),
        false => 0,
    };
    let authority = dns::authority(base, examples)?;
    let naming = Naming::start(base, authority, args.ephemeral, gateway.metrics())?;
    if let Some(naming) = &naming {
        naming.show(&mut ports, &mut metrics);
    }
    let beside = Beside {
        gateway: gateway.local_addr(),
        servers: &backs.upstreams,
        ephemeral: args.ephemeral,
        naming: naming.as_ref(),
    };
    let racing = Racing::start(base, beside)?;
    if let Some(racing) = &racing {
        racing.show(&mut ports, &mut metrics);
    }
    if let Some(channel) = &channel {
        channel.show(&mut metrics);
    }
    // The example shop's orders are fulfilled and its votes watched, unless the configuration has
    // its own.
    let mut defaults = Defaults::default();
    defaults.told.encoder = channel.as_ref().map(Channel::link);
    if args.upstream.is_empty() {
        defaults.transactions = config::transactions_of(shop::TRANSACTIONS)?;
        if channel.is_some() {
            defaults.told.rules = config::thresholds_of(shop::THRESHOLDS)?;
        }
    }
    let monitors = Monitors::start(base, "monitor", &defaults, monitored).await?;
    monitors.show(&mut metrics);
    metrics.routes(selvedge_follow::http::router(carrier.bus()));
    let collecting = Collecting::start(&config.collector, args.ephemeral, repository).await?;
    let counts = collecting.counts();
    metrics.more(move || counts.to_prometheus());
    let admin = Admin::start(
        port(config.admin.listen, args.ephemeral),
        collecting
            .repository()
            .router(metrics.extras(base.access())),
    )
    .await?;
    ports.add("gateway", gateway.local_addr());
    ports.add("admin", admin.address);
    collecting.add_to(&mut ports);
    if let Some(address) = carrier.address() {
        ports.add("bus", address);
    }
    let mut banner = banner(base, &gateway, &admin, &collecting, &backs);
    if let Some(address) = naming.as_ref().and_then(Naming::address) {
        banner += &line("dns", &address.to_string());
    }
    if let Some(racing) = &racing {
        banner += &line("race", &format!("{}/udp", racing.master().address()));
    }
    if let Some(channel) = &channel {
        ports.add("threshold", channel.link());
        let address = gateway.local_addr();
        banner += &line("channel", &format!("http://{address}/channel"));
    }
    let running = Whole {
        carrier,
        collecting,
        gateway,
        admin,
        backs,
        nodes,
        monitors,
        transmitting,
        naming,
        racing,
        channel,
    };
    Ok((running, ports, banner))
}

/// Ends everything, the front first, so that what is in flight still finds what it needs.
async fn stop(running: Whole) {
    if let Some(naming) = running.naming {
        naming.stop().await;
    }
    if let Some(racing) = running.racing {
        racing.stop().await;
    }
    running.gateway.stop().await;
    for shop in running.backs.shops {
        shop.stop().await;
    }
    for sidecar in running.backs.sidecars {
        sidecar.stop().await;
    }
    for node in running.nodes {
        node.stop().await;
    }
    running.transmitting.stop();
    running.monitors.stop().await;
    if let Some(channel) = running.channel {
        channel.stop().await;
    }
    running.admin.stop().await;
    running.collecting.stop().await;
    running.carrier.stop().await;
}

/// The example shop: the services behind an order, then the content servers.
async fn example_servers(base: &Base, args: &Up, bus: &Arc<dyn Bus>) -> Result<Backs> {
    let mut backs = Backs::default();
    let catalogue = service_node(base, "catalogue", bus).await?;
    let payment = service_node(base, "payment", bus).await?;
    let stock = service_node(base, "stock", bus).await?;
    let started = [
        shop::start_catalogue(any_port(), catalogue.clone()).await?,
        shop::start_payment(any_port(), payment.clone()).await?,
        shop::start_stock(any_port(), stock.clone()).await?,
    ];
    let urls = started
        .each_ref()
        .map(|shop| format!("http://{}", shop.address()));
    let [catalogue_url, payment_url, stock_url] = urls;
    let services = Services {
        catalogue: catalogue_url,
        payment: payment_url,
        stock: stock_url,
    };
    backs.shops.extend(started);
    backs.nodes.extend([catalogue, payment, stock]);
    for number in 1..=args.servers.unwrap_or(SERVERS) {
        let server = format!("content-{number}");
        let node = shop_node(base, &server, "content", bus).await?;
        let slow = args
            .test_slow
            .iter()
            .find(|slow| slow.server.as_str() == server);
        let options = ShopOptions {
            // An address of its own, as the example zone says.
            listen: SocketAddr::from(([127, 0, 1, number as u8], 0)),
            services: services.clone(),
            slow: slow.map(|slow| slow.delay),
        };
        let running = shop::start_content(options, node.clone()).await?;
        let url = format!("http://{}", running.address());
        backs.upstreams.push((name(&server), url));
        backs.shops.push(running);
        backs.nodes.push(node);
    }
    Ok(backs)
}

/// A node of a content server of the example shop, which keeps JSON bodies.
pub(crate) async fn shop_node(
    base: &Base,
    server: &str,
    service: &str,
    bus: &Arc<dyn Bus>,
) -> Result<Node> {
    example_node(base, base.server(name(server), service), bus).await
}

/// A node of a service behind an order: nobody asks it of a visit, so it remembers none.
async fn service_node(base: &Base, service: &str, bus: &Arc<dyn Bus>) -> Result<Node> {
    let mut server = base.server(name(service), service);
    server.memory = MemoryOptions::positions_only();
    example_node(base, server, bus).await
}

async fn example_node(base: &Base, mut server: Server<'_>, bus: &Arc<dyn Bus>) -> Result<Node> {
    if server.keep.bodies.is_empty() {
        server.keep.bodies = Keep::json_bodies().bodies;
        server.keep.state = true;
    }
    base.node(server, bus.clone()).await
}

/// A sidecar before each of the user's own servers.
async fn sidecars(base: &Base, upstreams: &[String], bus: &Arc<dyn Bus>) -> Result<Backs> {
    let mut backs = Backs::default();
    for (number, url) in (1..).zip(upstreams) {
        let server = name(&format!("upstream-{number}"));
        let node = base
            .node(base.server(server.clone(), "upstream"), bus.clone())
            .await?;
        let mut options = base
            .config
            .sidecar
            .clone()
            .unwrap_or_else(|| SidecarOptions::new(url));
        options.upstream.clone_from(url);
        options.listen = any_port();
        options.egress = any_port();
        let sidecar = Sidecar::start(options, node.clone())
            .await
            .with_context(|| format!("sidecar before {url}"))?;
        backs
            .upstreams
            .push((server, format!("http://{}", sidecar.inbound_addr())));
        backs.sidecars.push(sidecar);
        backs.nodes.push(node);
    }
    Ok(backs)
}

fn banner(
    base: &Base,
    gateway: &RunningGateway,
    admin: &Admin,
    collecting: &Collecting,
    backs: &Backs,
) -> String {
    let mut out = format!("{} serves\n", styled(NAME, "selvedge"));
    out += &line("gateway", &format!("http://{}", gateway.local_addr()));
    out += &line("page", &format!("http://{}", admin.address));
    for (what, address) in collecting.addresses() {
        out += &line(what, &address.to_string());
    }
    let data: PathBuf = std::path::absolute(&base.data).unwrap_or_else(|_| base.data.clone());
    out += &line("data", &data.display().to_string());
    for (server, url) in &backs.upstreams {
        out += &line("server", &format!("{server} {url}"));
    }
    for sidecar in &backs.sidecars {
        out += &line("egress", &format!("http://{}", sidecar.egress_addr()));
    }
    out
}

fn line(what: &str, value: &str) -> String {
    format!("  {}{value}\n", styled(DIM, &format!("{what:<10}")))
}
