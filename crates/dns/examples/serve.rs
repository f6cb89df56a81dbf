//! The name server alone: `serve ADDRESS ORIGIN FILE`. The benchmark runs it beside other servers;
//! it says where it serves, and does until its standard input ends.

use std::path::Path;
use std::sync::Arc;

use selvedge_dns::cookie::Secrets;
use selvedge_dns::{Authority, AuthorityParts, DnsOptions, Server, ServerOptions, ZoneOptions};
use tokio::io::AsyncReadExt as _;

#[tokio::main]
async fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [address, origin, file] = &args[..] else {
        panic!("serve ADDRESS ORIGIN FILE");
    };
    let mut options = DnsOptions::default();
    options.zones.push(ZoneOptions {
        origin: origin.clone(),
        file: file.into(),
    });
    let zones = options.read_zones(Path::new("")).expect("a zone");
    let authority = Authority::new(AuthorityParts {
        options: options.authority().expect("right"),
        zones,
        secrets: Secrets::new([1; 16], &[]),
        race_secret: [2; 16],
        seed: 3,
    });
    let server = ServerOptions {
        listen: vec![address.parse().expect("an address")],
        ..ServerOptions::default()
    };
    let server = Server::start(&server, Arc::new(authority)).expect("it listens");
    println!("serves {}", server.sockets()[0].0);
    let mut rest = Vec::new();
    let _ = tokio::io::stdin().read_to_end(&mut rest).await;
    server.stop().await;
}
