//! The roles in processes of their own.

use std::net::SocketAddr;
use std::path::Path;

use anyhow::{Context, Result, anyhow};
use selvedge_bus::HubOptions;
use selvedge_example_shop::{self as shop, Running, Services, ShopOptions};
use selvedge_gateway::{Gateway, RunningGateway, UpstreamOptions};
use selvedge_node::{Keep, Node};
use selvedge_repository::Repository;
use selvedge_sidecar::{Sidecar, SidecarOptions};

use crate::admin::{Admin, Metrics};
use crate::args::{self, Member, ShopService};
use crate::base::{Base, any_port, name};
use crate::bus::Carrier;
use crate::collect::Collecting;
use crate::dns::Naming;
use crate::monitors::{Defaults, Monitors};
use crate::ports::Ports;
use crate::race::{Beside, LoneReplica, Racing};
use crate::transmit::Transmitting;
use crate::{config, dns, print, signal, up};

/// The load balancer, with the bus hub in it (B10), and the repository where asked.
pub(crate) async fn gateway(args: args::Gateway) -> Result<()> {
    let base = Base::of_member(&args.member)?;
    let config = &base.config;
    let server_name = args.member.name.clone().unwrap_or_else(|| name("gateway"));
    let carrier = Carrier::host(
        &base,
        args.member.bus.as_ref(),
        server_name.as_str(),
        args.bus_listen.unwrap_or(config.bus.listen),
        HubOptions::default(),
    )
    .await?;
    let bus = carrier.bus();
    let repository = if args.repository {
        let options = base.repository();
        Some(
            Repository::start(options, bus.clone())
                .await
                .context("repository")?,
        )
    } else {
        None
    };
    let node = base.node(base.gateway(server_name), bus.clone()).await?;
    let mut options = config.gateway.clone();
    if let Some(listen) = args.listen {
        options.listen = vec![listen];
    }
    let upstreams = args.upstream.iter().map(UpstreamOptions::new);
    options.upstreams.extend(upstreams);
    let running = Gateway::start(options, node.clone())
        .await
        .context("gateway")?;
    let broadcaster = running.broadcaster();
    let transmitting = Transmitting::start(&base, &*bus, &node, broadcaster, None).await?;
    let mut metrics = Metrics::default();
    transmitting.show(&mut metrics);
    metrics.node(&node);
    metrics.bus(&carrier);
    metrics.routes(selvedge_follow::http::router(bus));
    let counts = running.metrics();
    metrics.more(move || counts.counts().to_prometheus());
    let mut ports = Ports::default();
    ports.add("gateway", running.local_addr());
    let authority = dns::authority(&base, 0)?;
    let naming = Naming::start(&base, authority, false, running.metrics())?;
    if let Some(naming) = &naming {
        naming.show(&mut ports, &mut metrics);
    }
    let beside = Beside {
        gateway: running.local_addr(),
        servers: &[],
        ephemeral: false,
        naming: naming.as_ref(),
    };
    let racing = Racing::start(&base, beside)?;
    if let Some(racing) = &racing {
        racing.show(&mut ports, &mut metrics);
    }
    if let Some(address) = carrier.address() {
        ports.add("bus", address);
    }
    let router = match &repository {
        Some(repository) => repository.router(metrics.extras(base.access())),
        None => metrics.router(),
    };
    let address = args.admin_listen.unwrap_or(config.admin.listen);
    let admin = Admin::start(address, router).await?;
    ports.add("admin", admin.address);
    let mut signals = signal::Rereading::listen();
    announce(&args.member, ports, "gateway", running.local_addr())?;
    let file = args.member.config.clone();
    signals
        .until_stopped(|| {
            reread(&running, file.as_deref(), &args.upstream);
            if let Some(naming) = &naming {
                dns::reread(naming.authority(), file.as_deref());
            }
        })
        .await;
    if let Some(naming) = naming {
        naming.stop().await;
    }
    if let Some(racing) = racing {
        racing.stop().await;
    }
    running.stop().await;
    node.stop().await;
    transmitting.stop();
    admin.stop().await;
    if let Some(repository) = repository {
        repository.stop().await;
    }
    carrier.stop().await;
    Ok(())
}

/// Takes the list of servers from the configuration file anew: SIGHUP. A file that is wrong
/// changes nothing.
fn reread(running: &RunningGateway, file: Option<&Path>, more: &[String]) {
    signal::reread("servers", || {
        let mut upstreams = config::load(file)?.gateway.upstreams;
        upstreams.extend(more.iter().map(UpstreamOptions::new));
        running.set_upstreams(&upstreams)?;
        Ok(format!("gateway has {} servers", upstreams.len()))
    });
}

/// The proxy before a content server in any language.
pub(crate) async fn sidecar(args: args::Sidecar) -> Result<()> {
    let base = Base::of_member(&args.member)?;
    let configured = base.config.sidecar.clone();
    let upstream = args
        .upstream
        .or_else(|| configured.as_ref().map(|options| options.upstream.clone()))
        .ok_or_else(|| anyhow!("which server does it stand before? --upstream URL"))?;
    let mut options = configured.unwrap_or_else(|| SidecarOptions {
        listen: any_port(),
        egress: any_port(),
        ..SidecarOptions::new(&upstream)
    });
    options.upstream = upstream;
    options.listen = args.listen.unwrap_or(options.listen);
    options.egress = args.egress.unwrap_or(options.egress);
    let server_name = server_name(&args.member)?;
    let carrier = Carrier::link(&base, &args.member, server_name.as_str()).await?;
    let service = args.service.unwrap_or_else(|| server_name.to_string());
    let mut server = base.server(server_name.clone(), &service);
    server.version = args.service_version.as_deref();
    if args.keep_json && server.keep.bodies.is_empty() {
        server.keep.bodies = Keep::json_bodies().bodies;
        server.keep.state = true;
    }
    let node = base.node(server, carrier.bus()).await?;
    let running = Sidecar::start(options, node.clone()).await?;
    let mut ports = Ports::default();
    ports.add("sidecar", running.inbound_addr());
    ports.add("egress", running.egress_addr());
    let mut metrics = Metrics::default();
    let replica = LoneReplica::beside_sidecar(&base, &server_name, running.inbound_addr())?;
    if let Some(replica) = &replica {
        replica.show(&mut ports, &mut metrics);
    }
    let admin = own_admin(args.admin_listen, &node, metrics, &mut ports).await?;
    let mut signals = signal::Rereading::listen();
    announce(&args.member, ports, "sidecar", running.inbound_addr())?;
    let file = args.member.config.as_deref();
    let reread = || {
        if let Some(replica) = &replica {
            replica.reread(file);
        }
    };
    signals.until_stopped(reread).await;
    if let Some(replica) = replica {
        replica.stop().await;
    }
    running.stop().await;
    node.stop().await;
    stop(admin).await;
    carrier.stop().await;
    Ok(())
}

/// One of the example shop's servers.
pub(crate) async fn content(args: args::Content) -> Result<()> {
    let base = Base::of_member(&args.member)?;
    let server_name = server_name(&args.member)?;
    let carrier = Carrier::link(&base, &args.member, server_name.as_str()).await?;
    let service = match args.service {
        ShopService::Content => "content",
        ShopService::Catalogue => "catalogue",
        ShopService::Payment => "payment",
        ShopService::Stock => "stock",
    };
    let node = up::shop_node(&base, server_name.as_str(), service, &carrier.bus()).await?;
    let listen = args.listen.unwrap_or_else(any_port);
    let url = |url: Option<String>, flag: &str| {
        url.ok_or_else(|| anyhow!("a content server calls the {flag} service: --{flag} URL"))
    };
    let running: Running = match args.service {
        ShopService::Content => {
            let services = Services {
                catalogue: url(args.catalogue, "catalogue")?,
                payment: url(args.payment, "payment")?,
                stock: url(args.stock, "stock")?,
            };
            let options = ShopOptions {
                listen,
                services,
                slow: None,
            };
            shop::start_content(options, node.clone()).await?
        }
        ShopService::Catalogue => shop::start_catalogue(listen, node.clone()).await?,
        ShopService::Payment => shop::start_payment(listen, node.clone()).await?,
        ShopService::Stock => shop::start_stock(listen, node.clone()).await?,
    };
    let mut ports = Ports::default();
    ports.add(service, running.address());
    let admin = own_admin(args.admin_listen, &node, Metrics::default(), &mut ports).await?;
    serving(&args.member, ports, service, running.address()).await?;
    running.stop().await;
    node.stop().await;
    stop(admin).await;
    carrier.stop().await;
    Ok(())
}

/// The repository, with the query API and the page.
pub(crate) async fn repository(args: args::Repository) -> Result<()> {
    let base = Base::of_member(&args.member)?;
    let server_name = args
        .member
        .name
        .clone()
        .unwrap_or_else(|| name("repository"));
    let carrier = Carrier::link(&base, &args.member, server_name.as_str()).await?;
    let bus = carrier.bus();
    let options = base.repository();
    let repository = Repository::start(options, bus.clone())
        .await
        .context("repository")?;
    let collecting = Collecting::start(&base.config.collector, false, repository).await?;
    let mut metrics = Metrics::default();
    metrics.bus(&carrier);
    metrics.routes(selvedge_follow::http::router(bus));
    let counts = collecting.counts();
    metrics.more(move || counts.to_prometheus());
    let address = args.listen.unwrap_or(base.config.admin.listen);
    let router = collecting
        .repository()
        .router(metrics.extras(base.access()));
    let admin = Admin::start(address, router).await?;
    let mut ports = Ports::default();
    ports.add("admin", admin.address);
    collecting.add_to(&mut ports);
    serving(&args.member, ports, "repository", admin.address).await?;
    admin.stop().await;
    collecting.stop().await;
    carrier.stop().await;
    Ok(())
}

/// The monitors: thresholds and transactions.
pub(crate) async fn monitor(args: args::Monitor) -> Result<()> {
    let base = Base::of_member(&args.member)?;
    let own_name = args.member.name.clone();
    let own_name = own_name.unwrap_or_else(|| name("monitor"));
    let carrier = Carrier::link(&base, &args.member, own_name.as_str()).await?;
    let bus = carrier.bus();
    if base.config.thresholds.is_empty() && base.config.transactions.is_empty() {
        return Err(anyhow!(
            "nothing to watch for: write a [[threshold]] or a [[transaction]] into the file that \
             --config names"
        ));
    }
    let running =
        Monitors::start(&base, own_name.as_str(), &Defaults::default(), bus.clone()).await?;
    let mut metrics = Metrics::default();
    running.show(&mut metrics);
    metrics.bus(&carrier);
    metrics.routes(selvedge_follow::http::router(bus));
    let address = args.admin_listen.unwrap_or(base.config.admin.listen);
    let admin = Admin::start(address, metrics.router()).await?;
    let mut ports = Ports::default();
    ports.add("admin", admin.address);
    serving(&args.member, ports, "monitor", admin.address).await?;
    admin.stop().await;
    running.stop().await;
    carrier.stop().await;
    Ok(())
}

fn server_name(member: &Member) -> Result<selvedge_identity::ServerName> {
    let name = member.name.clone();
    name.ok_or_else(|| {
        anyhow!("a server of its own needs a name, unique in the fleet: --name NAME")
    })
}

/// Serves a server's own health and metrics, where asked.
async fn own_admin(
    listen: Option<SocketAddr>,
    node: &Node,
    mut metrics: Metrics,
    ports: &mut Ports,
) -> Result<Option<Admin>> {
    let Some(address) = listen else {
        return Ok(None);
    };
    metrics.node(node);
    let admin = Admin::start(address, metrics.router()).await?;
    ports.add("admin", admin.address);
    Ok(Some(admin))
}

async fn stop(admin: Option<Admin>) {
    if let Some(admin) = admin {
        admin.stop().await;
    }
}

/// Tells where it serves.
fn announce(member: &Member, ports: Ports, what: &str, address: SocketAddr) -> Result<()> {
    ports.write(member.ports_file.as_deref())?;
    print::text(&format!("{what} serves on {address}\n"))?;
    Ok(())
}

/// Tells where it serves, and waits until it is asked to stop.
async fn serving(member: &Member, ports: Ports, what: &str, address: SocketAddr) -> Result<()> {
    let mut signals = signal::Signals::listen();
    announce(member, ports, what, address)?;
    signals.stop_asked().await;
    Ok(())
}
