//! The name server, asked by Debian's DNS clients (B4).

use std::collections::BTreeSet;
use std::net::UdpSocket;
use std::process::Command;
use std::time::Duration;

use selvedge_system_tests::{Up, run, selvedge};

const ZONE: &str = "\
$TTL 1h
@   IN SOA ns1 admin ( 2026112901 2h 15m 2w 5m ) ; as people write it
    IN NS  ns1
    IN NS  ns2
    IN MX  10 mail
    IN TXT \"v=spf1 -all\" \"second\"
    IN CAA 0 issue \"ca.example\"
ns1    A 192.0.2.1
       AAAA 2001:db8::1
ns2    A 192.0.2.2
mail   A 192.0.2.3
www    CNAME mail
*.wild A 192.0.2.4
sub    NS ns.sub
ns.sub A 192.0.2.5
turns 60 A 192.0.2.11
turns 60 A 192.0.2.12
turns 60 A 192.0.2.13
_sip._tcp SRV 1 2 5060 mail
$INCLUDE more.zone
";

const CONFIG: &str = "\
[dns]
nsid = \"here\"
[[dns.zone]]
origin = \"shop.test\"
file = \"shop.zone\"
[[dns.name]]
name = \"turns.shop.test\"
policy = \"round-robin\"
[dns.limit]
unlimited = []
";

struct Dns {
    up: Up,
    /// The folder of the configuration.
    folder: tempfile::TempDir,
}

impl Dns {
    fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let write = |file: &str, text: &str| std::fs::write(folder.path().join(file), text);
        write("shop.zone", ZONE).expect("written");
        let long = format!("\"{}\" ", "x".repeat(200)).repeat(10);
        write("more.zone", &format!("big TXT {long}\n")).expect("written");
        write("selvedge.toml", CONFIG).expect("written");
        let config = folder.path().join("selvedge.toml");
        let config = config.to_str().expect("UTF-8");
        Self {
            up: Up::start(&["--config", config]),
            folder,
        }
    }

    fn address(&self) -> String {
        self.up.server().address("dns").to_owned()
    }

    /// What a client prints; it must find no fault.
    fn client(&self, program: &str, args: &[&str]) -> String {
        let address = self.address();
        let (host, port) = address.split_once(':').expect("host:port");
        let mut command = Command::new(program);
        command
            .arg(format!("@{host}"))
            .args(["-p", port])
            .args(args);
        let out = command.output().expect("it is installed");
        let text = String::from_utf8_lossy(&out.stdout).into_owned();
        let said = String::from_utf8_lossy(&out.stderr);
        assert!(out.status.success(), "{command:?}: {text}{said}");
        for fault in [
            "WARNING",
            "Warning",
            "malformed",
            "bogus",
            "mismatch",
            "extra bytes",
            "bad cookie",
        ] {
            let found = text.contains(fault) || said.contains(fault);
            // Whoever wants recursion is told that there is none, which is no fault.
            let recursion = text.contains("recursion requested but not available");
            assert!(!found || recursion, "{command:?}: {text}{said}");
        }
        text
    }

    fn dig(&self, args: &[&str]) -> String {
        self.client("dig", &[&["+norecurse"], args].concat())
    }

    fn kdig(&self, args: &[&str]) -> String {
        self.client("kdig", &[&["+norecurse"], args].concat())
    }
}

#[test]
fn dig_and_kdig_find_no_fault_with_the_zone() {
    let dns = Dns::start();
    let questions = [
        (
            "shop.test SOA",
            "ns1.shop.test. admin.shop.test. 2026112901 7200 900 1209600 300",
        ),
        ("shop.test NS", "ns1.shop.test."),
        ("shop.test MX", "10 mail.shop.test."),
        ("shop.test TXT", "\"v=spf1 -all\" \"second\""),
        ("shop.test CAA", "0 issue \"ca.example\""),
        ("ns1.shop.test AAAA", "2001:db8::1"),
        ("NS1.Shop.Test A", "192.0.2.1"),
        ("www.shop.test A", "192.0.2.3"),
        ("a.b.wild.shop.test A", "192.0.2.4"),
        ("_sip._tcp.shop.test SRV", "1 2 5060 mail.shop.test."),
        ("turns.shop.test A", "192.0.2.1"),
        ("shop.test ANY", "\"RFC8482\" \"\""),
    ];
    for (question, holds) in questions {
        let [name, kind] = question.split(' ').collect::<Vec<_>>()[..] else {
            panic!("a name and a type: {question}");
        };
        for way in ["+notcp", "+tcp"] {
            for answer in [dns.dig(&[way, name, kind]), dns.kdig(&[way, name, kind])] {
                assert!(answer.contains("status: NOERROR"), "{answer}");
                assert!(answer.contains(" aa"), "{answer}");
                assert!(answer.contains(holds), "{question}: {answer}");
            }
        }
    }
    let absent = dns.dig(&["no.shop.test", "A"]);
    assert!(
        absent.contains("status: NXDOMAIN") && absent.contains("SOA"),
        "{absent}"
    );
    let referral = dns.dig(&["x.sub.shop.test", "A"]);
    assert!(
        referral.contains("192.0.2.5") && !referral.contains(" aa"),
        "{referral}"
    );
    let elsewhere = dns.kdig(&["other.test", "A"]);
    assert!(elsewhere.contains("status: REFUSED"), "{elsewhere}");
    let transfer = dns.dig(&["shop.test", "AXFR"]);
    assert!(transfer.contains("Transfer failed"), "{transfer}");
}

#[test]
fn zones_are_read_again_when_they_are_told_to_be() {
    let dns = Dns::start();
    let old = dns.dig(&["+short", "mail.shop.test", "A"]);
    assert_eq!(old, "192.0.2.3\n");
    let fresh = ZONE.replace("192.0.2.3", "192.0.2.33");
    std::fs::write(dns.folder.path().join("shop.zone"), fresh).expect("written");
    dns.up.server().signal("HUP");
    dns.up.server().wait_for("name server has 1 zones");
    let new = dns.dig(&["+short", "mail.shop.test", "A"]);
    assert_eq!(new, "192.0.2.33\n");
}

#[test]
fn edns_cookies_and_large_answers_are_right_by_dig_and_kdig() {
    let dns = Dns::start();
    let cookie = dns.dig(&["+cookie", "ns1.shop.test"]);
    assert!(cookie.contains("(good)"), "{cookie}");
    // kdig comes again with what it was given.
    let cookie = dns.kdig(&["+cookie", "+badcookie", "ns1.shop.test"]);
    assert!(cookie.contains("COOKIE:"), "{cookie}");
    let nsid = dns.dig(&["+nsid", "ns1.shop.test"]);
    assert!(nsid.contains("(\"here\")"), "{nsid}");
    let future = dns.dig(&["+edns=1", "+noednsnegotiation", "ns1.shop.test"]);
    assert!(future.contains("BADVERS"), "{future}");
    let flags = dns.dig(&["+ednsflags=0x7fff", "+ednsopt=100:abcd", "ns1.shop.test"]);
    assert!(flags.contains("192.0.2.1"), "{flags}");
    let bare = dns.dig(&["+noedns", "ns1.shop.test"]);
    assert!(
        bare.contains("192.0.2.1") && !bare.contains("OPT"),
        "{bare}"
    );
    let cut = dns.dig(&["+ignore", "big.shop.test", "TXT"]);
    assert!(
        cut.contains("flags: qr aa tc") || cut.contains(" tc"),
        "{cut}"
    );
    let whole = dns.dig(&["big.shop.test", "TXT"]);
    assert!(whole.contains("Truncated, retrying in TCP mode"), "{whole}");
    assert!(whole.contains(&"x".repeat(200)), "{whole}");
    let kept_open = dns.kdig(&["+tcp", "+keepopen", "ns1.shop.test", "ns2.shop.test"]);
    assert!(
        kept_open.contains("192.0.2.1") && kept_open.contains("192.0.2.2"),
        "{kept_open}"
    );
}

#[test]
fn round_robin_gives_every_address_in_its_turn() {
    let dns = Dns::start();
    let ask = |_| dns.dig(&["+short", "turns.shop.test"]).trim().to_owned();
    let given: Vec<String> = (0..6).map(ask).collect();
    let all: BTreeSet<&String> = given.iter().collect();
    assert_eq!(all.len(), 3, "{given:?}");
    assert_eq!(given[..3], given[3..], "{given:?}");
}

#[test]
fn up_serves_a_zone_for_the_example_servers() {
    let up = Up::start(&[]);
    let address = up.server().address("dns");
    let (host, port) = address.split_once(':').expect("host:port");
    let ask = |name: &str| {
        let mut dig = Command::new("dig");
        dig.arg(format!("@{host}"))
            .args(["-p", port, "+short", "+norecurse", name]);
        run(&mut dig).trim().to_owned()
    };
    for name in ["turns", "chance", "load"] {
        let address = ask(&format!("{name}.shop.example"));
        assert!(address.starts_with("127.0.1."), "{name}: {address}");
    }
    assert_eq!(ask("content-2.shop.example"), "127.0.1.2");
}

#[test]
fn a_zone_that_is_wrong_is_refused_with_file_and_line() {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |file: &str, text: &str| std::fs::write(folder.path().join(file), text);
    write(
        "shop.zone",
        &ZONE
            .replace("192.0.2.3", "192.0.2")
            .replace("2h 15m", "2x 15m"),
    )
    .expect("written");
    write("more.zone", "big TXT \"open\n").expect("written");
    write("selvedge.toml", CONFIG).expect("written");
    let config = folder.path().join("selvedge.toml");
    let mut check = selvedge(&["check", "--config", config.to_str().expect("UTF-8")]);
    let out = check.output().expect("it runs");
    assert_eq!(out.status.code(), Some(1));
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(said.contains("shop.zone:2: \"2x\" is not a time"), "{said}");
    assert!(
        said.contains("shop.zone:11: \"192.0.2\" is not an IPv4 address"),
        "{said}"
    );
    assert!(
        said.contains("more.zone:1: a quoted string is not closed"),
        "{said}"
    );
}

#[test]
fn hostile_datagrams_leave_the_server_answering() {
    let dns = Dns::start();
    let address = dns.address();
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    socket
        .set_read_timeout(Some(Duration::from_secs(60)))
        .expect("set");
    let mut state = 1_u64;
    let mut byte = || {
        state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
        (state >> 56) as u8
    };
    let before = dns.up.server().resident_bytes();
    for round in 0..20_000 {
        let length = usize::from(byte()) * if round % 100 == 0 { 64 } else { 1 };
        let mut message: Vec<u8> = std::iter::repeat_with(&mut byte).take(length).collect();
        // No query is answered while it is malformed, most of them silently.
        if let Some(flags) = message.get_mut(2) {
            *flags |= 0x80;
        }
        socket.send_to(&message, &address).expect("sent");
    }
    let good = dns.dig(&["+short", "ns1.shop.test"]);
    assert_eq!(good.trim(), "192.0.2.1");
    let after = dns.up.server().resident_bytes();
    assert!(after < before + (16 << 20), "{before} -> {after}");
}
