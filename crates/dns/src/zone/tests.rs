//! Zones: what is refused, and what each question finds. Through the responder, so that what is
//! looked at is what goes over the wire.

use super::*;
use crate::master;
use crate::respond::tests::{ask, name, steering, zones};

fn faults(text: &str) -> Vec<String> {
    let origin = name("example.");
    let head = "$TTL 60\n@ SOA ns admin 1 2 3 4 5\n@ NS ns\nns A 192.0.2.1\n";
    let text = format!("{head}{text}");
    let master = master::read("zone", &text, &origin, &mut |_| Err(String::new()));
    let zones = Zones::new(&[(origin, master.expect("well-formed"))], &steering());
    let faults = zones.expect_err("refused");
    faults.iter().map(ToString::to_string).collect()
}

#[test]
fn a_zone_that_contradicts_itself_is_refused_with_the_line() {
    let says = |text: &str, fault: &str| {
        let faults = faults(text);
        assert!(
            faults.iter().any(|f| f.contains(fault)),
            "{text}: {faults:?}"
        );
    };
    says(
        "a CNAME b\na A 192.0.2.1\n",
        "zone:6: a.example. is a CNAME (line 5)",
    );
    says("a CNAME b\na CNAME c\n", "zone:6: a.example. is a CNAME");
    says("@ SOA ns admin 1 2 3 4 5\n", "zone:5: a second SOA");
    says("other. A 192.0.2.1\n", "zone:5: other. is not in the zone");
    says("@ NS gone\n", "zone:5: gone.example. has no address");
    says(
        "@ NS alias\nalias CNAME ns\n",
        "zone:5: alias.example. is a CNAME",
    );
    says(
        "@ MX 1 alias\nalias CNAME ns\n",
        "zone:5: alias.example. is a CNAME",
    );
    says(
        "sub NS ns\nx.sub TXT x\n",
        "zone:6: sub.example. is delegated",
    );
    says("sub NS ns.sub\n", "zone:5: ns.sub.example. has no address");
    says("* NS ns\n", "zone:5: a wildcard");
    says("d TYPE39 \\# 1 00\n", "zone:5: DNAME");
}

#[test]
fn a_zone_without_its_own_records_or_given_twice_is_refused() {
    let origin = name("example.");
    let mut none = |_: &str| Err(String::new());
    let bare = master::read("zone", "a 5 A 192.0.2.1\n", &origin, &mut none).expect("read");
    let good = "@ 5 SOA ns a 1 2 3 4 5\n@ NS ns.other.\n";
    let good = master::read("zone", good, &origin, &mut none).expect("read");
    let said = |masters: &[(Name, Master)]| {
        let faults = Zones::new(masters, &steering()).expect_err("refused");
        faults
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join("; ")
    };
    let said_bare = said(&[(origin.clone(), bare)]);
    assert!(
        said_bare.contains("no SOA") && said_bare.contains("no NS"),
        "{said_bare}"
    );
    assert!(said(&[(origin.clone(), good.clone()), (origin, good)]).contains("twice"));
}

#[test]
fn a_name_has_what_the_zone_says() {
    let zones = zones();
    let answers = |name: &str, kind| ask(&zones, name, kind).sections[0].clone();
    assert_eq!(
        answers("ns1.example.", kind::A),
        ["ns1.example. 60 A 192.0.2.1"]
    );
    // The question's own case is kept, in the records' names too.
    assert_eq!(
        answers("nS1.eXample.", kind::A),
        ["nS1.eXample. 60 A 192.0.2.1"]
    );
    assert_eq!(
        answers("example.", kind::SOA),
        ["example. 300 SOA ns1.example. admin.example. 7"]
    );
    let servers = ask(&zones, "example.", kind::NS);
    assert_eq!(
        servers.sections[0],
        [
            "example. 300 NS ns1.example.",
            "example. 300 NS ns2.example."
        ]
    );
    assert!(servers.is_authoritative() && servers.rcode == 0);
    assert_eq!(
        answers("example.", kind::MX),
        ["example. 300 MX 10 mail.example."]
    );
    assert_eq!(
        answers("txt.example.", kind::TXT),
        ["txt.example. 300 TXT \u{3}one\u{3}two"]
    );
}

#[test]
fn a_missing_type_and_a_missing_name_are_told_apart() {
    let zones = zones();
    let soa = ["example. 30 SOA ns1.example. admin.example. 7"];
    for (name, kind) in [
        ("ns1.example.", kind::AAAA),
        ("deep.example.", kind::A), // Only something below it exists.
        ("example.", kind::CAA),
        ("sub.example.", kind::DS), // The parent's side of a delegation.
        ("x.wild.example.", kind::TXT), // A wildcard without that type.
    ] {
        let got = ask(&zones, name, kind);
        assert_eq!(
            (got.rcode, got.sections[1].as_slice()),
            (0, &soa.map(str::to_owned)[..]),
            "{name}"
        );
        assert!(got.sections[0].is_empty() && got.is_authoritative());
    }
    for name in [
        "no.example.",
        "a.b.c.no.example.",
        "ns1.ns1.example.",
        "x.deep.example.",
    ] {
        let got = ask(&zones, name, kind::A);
        assert_eq!(
            (got.rcode, got.sections[1].as_slice()),
            (3, &soa.map(str::to_owned)[..]),
            "{name}"
        );
    }
    for name in ["other.", ".", "com.", "xexample."] {
        assert_eq!(ask(&zones, name, kind::A).rcode, 5, "{name}");
    }
}

#[test]
fn a_wildcard_answers_for_names_that_do_not_exist() {
    let zones = zones();
    let got = ask(&zones, "a.b.WILD.example.", kind::A);
    assert_eq!(got.sections[0], ["a.b.WILD.example. 300 A 192.0.2.77"]);
    let got = ask(&zones, "x.wild.example.", kind::MX);
    assert_eq!(got.sections[0], ["x.wild.example. 300 MX 5 mail.example."]);
    // A name that exists hides it, and so does one above the question.
    assert_eq!(
        ask(&zones, "there.wild.example.", kind::A).sections[0].len(),
        0
    );
    assert_eq!(ask(&zones, "x.there.wild.example.", kind::A).rcode, 3);
    // Asked by its own name it is a name as others.
    assert_eq!(ask(&zones, "*.wild.example.", kind::A).sections[0].len(), 1);
}

#[test]
fn a_delegation_is_a_referral_with_addresses() {
    let zones = zones();
    for name in ["sub.example.", "x.y.sub.example.", "ns.sub.example."] {
        let got = ask(&zones, name, kind::A);
        assert!(!got.is_authoritative() && got.sections[0].is_empty() && got.rcode == 0);
        assert_eq!(
            got.sections[1],
            [
                "sub.example. 300 NS ns.sub.example.",
                "sub.example. 300 NS ns.other."
            ]
        );
        assert_eq!(got.sections[2], ["ns.sub.example. 300 A 192.0.2.53"]);
    }
}

#[test]
fn an_alias_is_followed_within_the_zone() {
    let zones = zones();
    let got = ask(&zones, "alias.example.", kind::A);
    assert_eq!(
        got.sections[0],
        [
            "alias.example. 300 CNAME second.example.",
            "second.example. 300 CNAME ns1.example.",
            "ns1.example. 60 A 192.0.2.1"
        ]
    );
    let none = ask(&zones, "alias.example.", kind::AAAA);
    assert_eq!(
        (none.sections[0].len(), none.sections[1].len(), none.rcode),
        (2, 1, 0)
    );
    let itself = ask(&zones, "alias.example.", kind::CNAME);
    assert_eq!(itself.sections[0].len(), 1);
    let gone = ask(&zones, "gone.example.", kind::A);
    assert_eq!(
        (gone.sections[0].len(), gone.sections[1].len(), gone.rcode),
        (1, 1, 3)
    );
    let away = ask(&zones, "away.example.", kind::A);
    assert_eq!(
        (away.sections[0].len(), away.sections[1].len(), away.rcode),
        (1, 0, 0)
    );
    let circle = ask(&zones, "loop.example.", kind::A);
    assert_eq!(circle.rcode, 0);
    let wild = ask(&zones, "wilder.example.", kind::A);
    assert_eq!(wild.sections[0][1], "x.wild.example. 300 A 192.0.2.77");
    // A raced name is asked for anew.
    assert_eq!(ask(&zones, "shop.example.", kind::A).sections[0].len(), 1);
}

#[test]
fn a_zone_below_another_goes_before_its_delegation() {
    let mut masters = crate::respond::tests::masters();
    let origin = name("sub.example.");
    let text = "@ 9 SOA ns a 8 2 3 4 5\n@ NS ns\nns A 192.0.2.53\nwww A 192.0.2.54\n";
    let child = master::read("sub", text, &origin, &mut |_| Err(String::new()));
    let child = (origin, child.expect("read"));
    for place in [0, 1] {
        let mut both = masters.clone();
        both.insert(place, child.clone());
        let zones = Zones::new(&both, &steering()).expect("right");
        let got = ask(&zones, "www.sub.example.", kind::A);
        assert!(got.is_authoritative() && got.sections[0].len() == 1);
        assert_eq!(ask(&zones, "no.sub.example.", kind::A).rcode, 3);
        assert_eq!(ask(&zones, "sub.example.", kind::NS).sections[0].len(), 1);
    }
    masters.clear();
}

#[test]
fn steering_that_fits_no_zone_is_refused() {
    let masters = crate::respond::tests::masters();
    let said = |change: &dyn Fn(&mut Steering)| {
        let mut steering = steering();
        change(&mut steering);
        let faults = Zones::new(&masters, &steering).expect_err("refused");
        faults[0].to_string()
    };
    let race = steering().names[&name("www.example.")];
    let no_site = said(&|s| s.sites.clear());
    assert!(no_site.contains("[[dns.site]]"), "{no_site}");
    let nowhere = said(&|s| _ = s.names.insert(name("none.example."), race));
    assert!(
        nowhere.contains("none.example. has no A or AAAA"),
        "{nowhere}"
    );
    let beside = said(&|s| _ = s.names.insert(name("mixed.example."), race));
    assert!(beside.contains("cannot have TXT beside it"), "{beside}");
}
