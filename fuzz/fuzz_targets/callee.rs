//! Where an application sends a call, as a URL and as an authority: what is taken has a host and a
//! port, and reads the same again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use selvedge_sidecar::Target;

fuzz_target!(|text: &str| {
    for target in [
        Target::parse(None, text),
        Target::of_authority(None, text, ""),
    ] {
        let Ok(target) = target else { continue };
        let (host, port) = target
            .address
            .rsplit_once(':')
            .expect("an address has a port");
        assert!(!host.is_empty());
        assert!(port.parse::<u16>().is_ok_and(|port| port != 0));
        assert!(target.prefix.is_empty() || target.prefix.starts_with('/'));
        let again = format!("http://{}{}", target.address, target.prefix);
        assert_eq!(Target::parse(None, &again), Ok(target));
    }
});
