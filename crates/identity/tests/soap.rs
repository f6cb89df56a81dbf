//! The block in a SOAP header: read and written by the scanner, and what it refuses.

use proptest::prelude::*;
use selvedge_identity::carrier::soap::{self, SoapError};
use selvedge_identity::{Interaction, Origin, RequestIdentifier, Shape};

const SOAP_11: &str = "http://schemas.xmlsoap.org/soap/envelope/";
const SOAP_12: &str = "http://www.w3.org/2003/05/soap-envelope";

fn identifier(n: u8) -> RequestIdentifier {
    let own = Interaction::from_random([n; 8]);
    RequestIdentifier::root(Origin::new(9, [3; 10]), own, Shape::default())
}

fn block(n: u8) -> String {
    let text = identifier(n).encode();
    format!("<sv:Request xmlns:sv=\"urn:selvedge:request:1\">{text}</sv:Request>")
}

fn with_header(header: &str) -> String {
    format!("<s:Envelope xmlns:s='{SOAP_12}'>{header}<s:Body><x/></s:Body></s:Envelope>")
}

fn write(envelope: &str, n: u8) -> Result<String, SoapError> {
    let out = soap::write(envelope.as_bytes(), &identifier(n))?;
    Ok(String::from_utf8(out).unwrap())
}

#[track_caller]
fn read(envelope: &str) -> Option<RequestIdentifier> {
    let value = soap::read(envelope.as_bytes()).unwrap();
    value.map(|value| RequestIdentifier::parse(value).unwrap())
}

#[track_caller]
fn refused(envelope: &str, error: SoapError) {
    assert_eq!(soap::read(envelope.as_bytes()), Err(error), "{envelope}");
    assert_eq!(write(envelope, 1), Err(error), "{envelope}");
}

#[test]
fn the_block_is_written_into_a_header_of_any_form() {
    let ours = block(1);
    for (before, after) in [
        (String::new(), format!("<s:Header>{ours}</s:Header>")),
        ("<s:Header/>".into(), format!("<s:Header>{ours}</s:Header>")),
        (
            "<s:Header a='1' />".into(),
            format!("<s:Header a='1' >{ours}</s:Header>"),
        ),
        (
            "\n <!-- c --> <s:Header ><w:A xmlns:w='w'>b &amp; c<w:B/></w:A></s:Header >".into(),
            format!(
                "\n <!-- c --> <s:Header >{ours}<w:A xmlns:w='w'>b &amp; c<w:B/></w:A></s:Header >"
            ),
        ),
        (
            format!("<s:Header><a/>{}<b/></s:Header>", block(2)),
            format!("<s:Header><a/>{ours}<b/></s:Header>"),
        ),
    ] {
        let written = write(&with_header(&before), 1).unwrap();
        assert_eq!(written, with_header(&after));
        assert_eq!(read(&written), Some(identifier(1)));
        assert_eq!(write(&written, 1), Ok(written));
    }
}

#[test]
fn both_versions_any_prefix_and_an_xml_declaration_are_read() {
    for namespace in [SOAP_11, SOAP_12] {
        for prefix in ["", "soap:", "S\u{e9}-1:"] {
            for start in [
                "",
                "\u{feff}",
                "<?xml version='1.0' encoding=\"UTF-8\"?>\n<!--c-->",
            ] {
                let declared = match prefix.trim_end_matches(':') {
                    "" => "xmlns".to_owned(),
                    name => format!("xmlns:{name}"),
                };
                let envelope = format!(
                    "{start}<{prefix}Envelope {declared} = \"{namespace}\">\n<{prefix}Body/></{prefix}Envelope>"
                );
                assert_eq!(read(&envelope), None);
                assert_eq!(read(&write(&envelope, 3).unwrap()), Some(identifier(3)));
            }
        }
    }
}

#[test]
fn the_block_is_known_by_its_namespace_wherever_that_is_declared() {
    let text = identifier(4).encode();
    for header in [
        format!(
            "<s:Header xmlns:q='urn:selvedge:request:1'><q:Request>\n {text}\t</q:Request></s:Header>"
        ),
        format!(
            "<s:Header><Request a='b' xmlns='urn:selvedge:request:1'>{text}</Request></s:Header>"
        ),
    ] {
        assert_eq!(read(&with_header(&header)), Some(identifier(4)));
    }
    for header in [
        format!("<s:Header><Request>{text}</Request></s:Header>"),
        format!(
            "<s:Header><sv:Request xmlns:sv='urn:selvedge:request:2'>{text}</sv:Request></s:Header>"
        ),
        format!(
            "<s:Header xmlns:sv='urn:selvedge:request:1'><sv:Request xmlns:sv='u'>{text}</sv:Request></s:Header>"
        ),
        format!("<s:Header><other>{}</other></s:Header>", block(4)),
        format!("<s:Header><!-- {} --></s:Header>", block(4)),
    ] {
        assert_eq!(read(&with_header(&header)), None, "{header}");
    }
    // A look-alike in the body, which is not looked at.
    let body = with_header("").replace("<x/>", &format!("<![CDATA[{}]]>", block(5)));
    assert_eq!(read(&body), None);
}

#[test]
fn what_a_parser_could_read_otherwise_is_refused() {
    let declared = format!("<?xml version='1.0' encoding='utf-16'?>{}", with_header(""));
    refused(&declared, SoapError::Encoding);
    refused("<\0s\0", SoapError::Encoding);
    let doctype = format!("<!DOCTYPE s:Envelope [<!ENTITY a 'b'>]>{}", with_header(""));
    refused(&doctype, SoapError::Doctype);
    for (header, error) in [
        ("<?php x?>".to_owned(), SoapError::Instruction),
        (
            "<s:Header><a><![CDATA[</a>]]></a></s:Header>".into(),
            SoapError::Cdata,
        ),
        (
            "<s:Header xmlns:sv='urn:selvedge&#58;request:1'/>".into(),
            SoapError::Entity,
        ),
        (
            format!(
                "<s:Header>{}</s:Header>",
                block(1).replace("1.4", "1&#46;4")
            ),
            SoapError::Entity,
        ),
        (
            format!("<s:Header>{}<a/>{}</s:Header>", block(1), block(2)),
            SoapError::Twice,
        ),
        ("<s:Other/>".into(), SoapError::NotAnEnvelope),
        ("<Header/>".into(), SoapError::NotAnEnvelope),
    ] {
        refused(&with_header(&header), error);
    }
    for envelope in ["<a/>", "<Envelope/>", "<s:Envelope xmlns:s='u'><s:Body/>"] {
        refused(envelope, SoapError::NotAnEnvelope);
    }
}

#[test]
fn malformed_envelopes_are_refused() {
    for header in [
        "<s:Header>",
        "<s:Header></Header>",
        "<s:Header>text</s:Header>",
        "<s:Header><a></b></s:Header>",
        "<s:Header><a",
        "<s:Header><a b></a></s:Header>",
        "<s:Header><a b=c></a></s:Header>",
        "<s:Header><a b='<'></a></s:Header>",
        "<s:Header><a b='1'c='2'></a></s:Header>",
        "<s:Header><a:b:c/></s:Header>",
        "<s:Header><1/></s:Header>",
        "<s:Header xmlns:a='1' xmlns:a='2'/>",
        "<s:Header><!-- </s:Header>",
        "</s:Header>",
        "text",
    ] {
        let envelope = with_header(header);
        let refused = soap::read(envelope.as_bytes());
        let malformed = matches!(refused, Err(SoapError::Malformed { .. }));
        assert!(malformed, "{header}: {refused:?}");
    }
    assert_eq!(soap::read(b""), Err(SoapError::Malformed { at: 0 }));
}

#[test]
fn what_is_looked_at_is_bounded() {
    let filled = |length: usize| {
        with_header(&format!(
            "<s:Header><a b='{}'/></s:Header>",
            "c".repeat(length)
        ))
    };
    refused(&filled(soap::SCAN_MAX), SoapError::Oversized);
    let deep = with_header(&format!("<s:Header>{}", "<a>".repeat(33)));
    refused(&deep, SoapError::Oversized);
    let declared: String = (0..65).map(|n| format!(" xmlns:a{n}='b'")).collect();
    refused(
        &with_header(&format!("<s:Header{declared}/>")),
        SoapError::Oversized,
    );

    // Readable, but not with our block in it.
    let nearly = filled(soap::SCAN_MAX - 200);
    assert_eq!(read(&nearly), None);
    assert_eq!(write(&nearly, 1), Err(SoapError::Oversized));

    let long_body = with_header("").replace("<x/>", &"x".repeat(2 * soap::SCAN_MAX));
    assert_eq!(read(&write(&long_body, 1).unwrap()), Some(identifier(1)));
}

proptest! {
    /// Any pieces of XML in any order: no panic, and what is written is read back.
    #[test]
    fn whatever_can_be_written_to_is_read_back(
        pieces in prop::collection::vec(prop::sample::select(vec![
            "<s:Header>", "</s:Header>", "<s:Header/>", "<a>", "</a>", "<a b='c'/>", "<!--", "-->",
            "<![CDATA[", "]]>", "&amp;", " ", "x", "<", ">", "'", "<sv:Request", "</sv:Request>",
            " xmlns:sv='urn:selvedge:request:1'", "<s:Body>", "<?", "?>",
        ]), 0..12),
    ) {
        let envelope = with_header(&pieces.concat());
        if let Ok(written) = write(&envelope, 7) {
            prop_assert_eq!(read(&written), Some(identifier(7)));
            prop_assert_eq!(write(&written, 7).unwrap(), written.clone());
        }
    }

    #[test]
    fn other_blocks_stay_as_they_are(
        names in prop::collection::vec("[a-z]{1,5}", 0..6),
        texts in prop::collection::vec("[a-z &;]{0,9}", 6),
    ) {
        let blocks: String = names
            .iter()
            .zip(&texts)
            .map(|(name, text)| format!("<{name}>{text}</{name}>"))
            .collect();
        let envelope = with_header(&format!("<s:Header>{blocks}</s:Header>"));
        let written = write(&envelope, 1).unwrap();
        prop_assert_eq!(written.replacen(&block(1), "", 1), envelope);
    }
}
