//! Debian's resolvers, unmodified, resolve through the name server from the root on (C7), in a
//! network namespace, where port 53 is free. Needs root.

use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;

use selvedge_system_tests::{
    Resolver, ResolverKind, Server, Upstream, binary, dns_counter, run, until_sites_race,
};

use crate::network::{Hosts, ip};

const SERVER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 53);

const ROOT: &str = "\
$TTL 1d
@ SOA ns.root.net. admin.root.net. 1 2h 15m 2w 60
@ NS ns.root.net.
ns.root.net. A 127.0.0.53
shop.net. NS ns.shop.net.
ns.shop.net. A 127.0.0.53
";

const SHOP: &str = "\
$TTL 1h
@ SOA ns admin 1 2h 15m 2w 60
@ NS ns
ns A 127.0.0.53
host A 192.0.2.1
alias CNAME host
*.wild A 192.0.2.2
www 30 A 127.0.1.1
www 30 A 127.0.1.2
www 30 A 127.0.1.3
*.raced 30 A 127.0.1.1
*.raced 30 A 127.0.1.2
*.raced 30 A 127.0.1.3
";

const CONFIG: &str = "\
[dns]
listen = [\"127.0.0.53:53\"]
[[dns.zone]]
origin = \".\"
file = \"root.zone\"
[[dns.zone]]
origin = \"shop.net\"
file = \"shop.zone\"
[[dns.site]]
name = \"content-1\"
addresses = [\"127.0.1.1\"]
[[dns.site]]
name = \"content-2\"
addresses = [\"127.0.1.2\"]
[[dns.site]]
name = \"content-3\"
addresses = [\"127.0.1.3\"]
[[dns.name]]
name = \"www.shop.net\"
policy = \"race\"
[[dns.name]]
name = \"*.raced.shop.net\"
policy = \"race\"
[dns.limit]
per_s = 1000
unlimited = []
";

/// A host with the name server on it.
struct Host {
    hosts: Hosts,
    server: Server,
    folder: tempfile::TempDir,
}

impl Host {
    fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let write = |file: &str, text: &str| std::fs::write(folder.path().join(file), text);
        write("root.zone", ROOT).expect("written");
        write("shop.zone", SHOP).expect("written");
        write("selvedge.toml", CONFIG).expect("written");
        let hosts = Hosts::new(&["dns"]);
        let mut command = hosts.on(0, binary().to_str().expect("UTF-8"));
        command
            .arg("up")
            .arg("--data")
            .arg(folder.path().join("data"));
        command
            .arg("--config")
            .arg(folder.path().join("selvedge.toml"));
        let server = Server::start(command, folder.path());
        Self {
            hosts,
            server,
            folder,
        }
    }

    fn resolver(&self, kind: ResolverKind) -> Resolver {
        let place = ResolverKind::ALL.iter().position(|other| *other == kind);
        let address = Ipv4Addr::new(127, 0, 2, 1 + place.expect("one of them") as u8);
        let own = format!("{address}/32");
        ip(&["-n", &self.hosts.names[0], "addr", "add", &own, "dev", "lo"]);
        let folder = self.folder.path().join(format!("{kind:?}"));
        std::fs::create_dir(&folder).expect("made");
        let upstream = Upstream {
            server: SERVER,
            name: "ns.root.net.",
            zone: "shop.net",
        };
        Resolver::start(kind, address, upstream, &folder, |program| {
            self.hosts.on(0, program)
        })
    }

    /// What a resolver answers: the status and the answers' lines.
    fn ask(&self, resolver: &Resolver, name: &str) -> (String, Vec<String>) {
        let mut dig = self.hosts.on(0, "dig");
        dig.arg(format!("@{}", resolver.address));
        dig.args([
            "+tries=1",
            "+timeout=20",
            "+noall",
            "+comments",
            "+answer",
            name,
        ]);
        let text = run(&mut dig);
        let status = text.split("status: ").nth(1);
        let status = status.and_then(|rest| rest.split(',').next()).unwrap_or("");
        let lines = text
            .lines()
            .filter(|line| !line.starts_with(';') && !line.is_empty());
        let last = |line: &str| line.split_whitespace().last().unwrap_or("").to_owned();
        (status.to_owned(), lines.map(last).collect())
    }

    /// What the admin port of the first host answers.
    fn admin(&self, path: &str) -> String {
        let mut curl = self.hosts.on(0, "curl");
        run(curl.args(["-s", &format!("http://127.0.0.1:8090{path}")]))
    }

    fn count(&self, name: &str) -> u64 {
        dns_counter(name, |path| self.admin(path))
    }
}

fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output().expect("id runs");
    let root = id.stdout.trim_ascii() == b"0" && Path::new("/usr/sbin/unbound").exists();
    if !root {
        eprintln!("skipped: network namespaces need root, and resolvers Debian's packages");
    }
    root
}

#[test]
fn unmodified_resolvers_resolve_from_the_root_on() {
    if !is_root() {
        return;
    }
    let host = Host::start();
    for kind in ResolverKind::ALL {
        let resolver = host.resolver(kind);
        let ask = |name: &str| host.ask(&resolver, name);
        let found = |address: &str| ("NOERROR".to_owned(), vec![address.to_owned()]);
        assert_eq!(ask("host.shop.net"), found("192.0.2.1"), "{kind:?}");
        assert_eq!(ask("x.y.wild.shop.net"), found("192.0.2.2"), "{kind:?}");
        let (status, alias) = ask("alias.shop.net");
        assert_eq!(
            (&*status, alias.last().map(String::as_str)),
            ("NOERROR", Some("192.0.2.1"))
        );
        assert_eq!(
            ask("no.shop.net"),
            ("NXDOMAIN".to_owned(), vec![]),
            "{kind:?}"
        );
    }
    assert_eq!(host.count("malformed"), 0);
}

#[test]
fn unmodified_resolvers_race_and_name_the_winner() {
    if !is_root() {
        return;
    }
    let host = Host::start();
    until_sites_race(3, |path| host.admin(path));
    for kind in ResolverKind::ALL {
        let resolver = host.resolver(kind);
        let (raced, tcp) = (host.count("raced"), host.count("messages_tcp"));
        let learned = host.count("races_learned");
        for number in 0..20 {
            let name = format!("{kind:?}{number}.raced.shop.net").to_lowercase();
            let (status, answers) = host.ask(&resolver, &name);
            assert_eq!(status, "NOERROR", "{kind:?} {name}");
            let last = answers.last().map_or("", String::as_str);
            assert!(last.starts_with("127.0.1."), "{kind:?} {name}: {answers:?}");
        }
        let (raced, tcp) = (
            host.count("raced") - raced,
            host.count("messages_tcp") - tcp,
        );
        // All but the one that proved the address; of BIND none, it sends cookies.
        assert!(raced >= 19, "{kind:?} raced {raced} times of 20");
        assert!(tcp <= 1, "{kind:?} came over TCP {tcp} times");
        // A forwarder follows no alias; the others tell who won. (Where all replicas were late, as
        // on a busy machine, the master has answered, and nobody won.)
        let learned = host.count("races_learned") - learned;
        assert_eq!(
            learned > 0,
            kind != ResolverKind::Dnsmasq,
            "{kind:?}: {learned}"
        );
    }
    assert_eq!(host.count("malformed"), 0);
    drop(host.server);
}
