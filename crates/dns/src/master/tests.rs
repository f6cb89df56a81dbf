//! Master files as people write them, and what is said of wrong ones.

use super::*;

fn origin() -> Name {
    Name::parse(b"example.", None).expect("a name")
}

fn master(text: &str) -> Result<Master, Vec<Fault>> {
    read("zone", text, &origin(), &mut |file| match file {
        "more" => Ok("www A 192.0.2.9\n@ TXT more\n".to_owned()),
        "loop" => Ok("$INCLUDE loop\n".to_owned()),
        _ => Err(format!("there is no {file}")),
    })
}

/// The records as lines.
fn lines(text: &str) -> Vec<String> {
    let records = master(text).expect("right").records;
    let line = |record: &Record| {
        let kind = record::kind_name(record.kind);
        format!(
            "{} {} {kind} {:?}",
            record.owner,
            record.ttl,
            record.data.parts()
        )
    };
    records.iter().map(line).collect()
}

/// What is said of a text that is wrong, with lines.
fn said(text: &str) -> Vec<(usize, String)> {
    let faults = master(text).expect_err("wrong");
    faults.into_iter().map(|f| (f.line, f.sentence)).collect()
}

#[test]
fn the_form_of_rfc_1035_is_read() {
    let text = "\
$TTL 1h
@ IN SOA ns admin\\.of ( 2026112901 ; serial
        2h 15m 2w 300 )
    IN NS ns
ns  60 IN A 192.0.2.1
    IN 1m30s AAAA 2001:db8::1
$ORIGIN sub.example.
www CNAME ns.example.
*   TXT \"two words\" \"semi;colon\" plain
x   CAA 0 issue \"ca.example\"
y   TYPE64000 \\# 3 ab cdef
";
    assert_eq!(
        lines(text),
        [
            "example. 3600 SOA [Name(ns.example.), Name(admin\\.of.example.), Bytes([120, 196, 7, \
             133, 0, 0, 28, 32, 0, 0, 3, 132, 0, 18, 117, 0, 0, 0, 1, 44])]",
            "example. 3600 NS [Name(ns.example.)]",
            "ns.example. 60 A [Bytes([192, 0, 2, 1])]",
            "ns.example. 90 AAAA [Bytes([32, 1, 13, 184, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1])]",
            "www.sub.example. 3600 CNAME [Name(ns.example.)]",
            "*.sub.example. 3600 TXT [Bytes([9, 116, 119, 111, 32, 119, 111, 114, 100, 115, 10, \
             115, 101, 109, 105, 59, 99, 111, 108, 111, 110, 5, 112, 108, 97, 105, 110])]",
            "x.sub.example. 3600 CAA [Bytes([0, 5, 105, 115, 115, 117, 101, 99, 97, 46, 101, 120, \
             97, 109, 112, 108, 101])]",
            "y.sub.example. 3600 TYPE64000 [Bytes([171, 205, 239])]",
        ]
    );
}

#[test]
fn a_file_includes_another_with_an_origin_of_its_own() {
    let text = "$TTL 5\n$INCLUDE more sub\nwww A 192.0.2.1\n";
    let read = master(text).expect("right");
    assert_eq!(read.files, ["zone", "more"]);
    let owners: Vec<String> = read.records.iter().map(|r| r.owner.to_string()).collect();
    assert_eq!(owners, ["www.sub.example.", "sub.example.", "www.example."]);
    assert_eq!((read.records[1].file, read.records[1].line), (1, 2));
}

#[test]
fn every_fault_is_told_with_its_line() {
    let text = "\
$TTL 60
a A 192.0.2
b AAA ::1
$TLL 5
c TXT \"open
d A 192.0.2.1 )
e MX mail
f 99999999999 A 192.0.2.1
g CH TXT x
";
    let faults = said(text);
    let lines: Vec<usize> = faults.iter().map(|(line, _)| *line).collect();
    assert_eq!(lines, [2, 3, 4, 5, 6, 7, 8, 9]);
    assert_eq!(faults[0].1, "\"192.0.2\" is not an IPv4 address");
    assert!(faults[1].1.contains("unknown type \"AAA\""));
    assert!(faults[2].1.contains("$ORIGIN, $TTL and $INCLUDE"));
    assert!(faults[3].1.contains("not closed on its line"));
    assert!(faults[5].1.contains("preference and name"));
}

#[test]
fn what_cannot_be_known_is_a_fault() {
    assert_eq!(said(" A 192.0.2.1\n")[0].0, 1);
    assert!(said("a A 192.0.2.1\n")[0].1.contains("$TTL"));
    assert!(
        said("$TTL 1\n@ SOA ( a b 1 2 3\n")[0]
            .1
            .contains("not closed")
    );
    assert!(said("$INCLUDE none\n")[0].1.contains("there is no none"));
    assert!(said("$INCLUDE loop\n")[0].1.contains("deep"));
    assert!(
        said("$TTL 1\na TYPE1 \\# 4 c0000201\n")[0]
            .1
            .contains("own form")
    );
    assert!(
        said("$TTL 1\na TYPE999 \\# 4 c00002\n")[0]
            .1
            .contains("says 4")
    );
    assert!(said("$TTL 1\na TYPE41 \\# 0\n")[0].1.contains("of queries"));
    assert_eq!(said(&"x\n".repeat(100)).len(), FAULTS_MAX);
}

#[test]
fn times_have_units_or_none() {
    let read = record::seconds;
    assert_eq!(
        (read("0"), read("90"), read("1h30m")),
        (Some(0), Some(90), Some(5400))
    );
    assert_eq!((read("1W"), read("2d3S")), (Some(604_800), Some(172_803)));
    for wrong in [
        "",
        "h",
        "1h5",
        "1x",
        "-1",
        "2147483648",
        "99999999999999999999",
    ] {
        assert_eq!(read(wrong), None, "{wrong}");
    }
}
