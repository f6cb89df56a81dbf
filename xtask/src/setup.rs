//! What tests and benchmarks need beside the Rust toolchain.

mod python;
mod sdks;

use std::path::Path;
use std::process::Command;

use anyhow::Result;

/// A program of another project that tests or benchmarks run, and the Debian package that it is in,
/// or several, with blanks between.
struct Need {
    program: &'static str,
    package: &'static str,
    why: &'static str,
}

const MEDIA: Need = Need {
    program: "ffmpeg",
    package: "ffmpeg",
    why: "transport streams",
};

const TESTS: [Need; 17] = [
    Need {
        program: "haproxy",
        package: "haproxy",
        why: "a proxy between servers",
    },
    Need {
        program: "python3",
        package: "python3-venv",
        why: "the content server in Python",
    },
    Need {
        program: "curl",
        package: "curl",
        why: "an HTTP client that is not ours",
    },
    Need {
        program: "npm",
        package: "npm",
        why: "OpenTelemetry's SDK for JavaScript",
    },
    Need {
        program: "ip",
        package: "iproute2",
        why: "network namespaces",
    },
    Need {
        program: "dig",
        package: "bind9-dnsutils",
        why: "a DNS client that is not ours",
    },
    Need {
        program: "kdig",
        package: "knot-dnsutils",
        why: "a DNS client that is not ours",
    },
    Need {
        program: "unbound",
        package: "unbound",
        why: "a resolver",
    },
    Need {
        program: "named",
        package: "bind9",
        why: "a resolver",
    },
    Need {
        program: "kresd",
        package: "knot-resolver",
        why: "a resolver",
    },
    Need {
        program: "dnsmasq",
        package: "dnsmasq-base",
        why: "a resolver",
    },
    Need {
        program: "pdns_recursor",
        package: "pdns-recursor",
        why: "a resolver",
    },
    Need {
        program: "chronyd",
        package: "chrony",
        why: "a clock that is kept by others",
    },
    MEDIA,
    Need {
        program: "tsreport",
        package: "tstools",
        why: "a reader of transport streams that is not ours",
    },
    Need {
        program: "gst-launch-1.0",
        package: "gstreamer1.0-tools gstreamer1.0-plugins-base gstreamer1.0-plugins-good \
                  gstreamer1.0-plugins-bad gstreamer1.0-libav",
        why: "a player that is not ours",
    },
    Need {
        program: "chromium",
        package: "chromium",
        why: "a browser",
    },
];

const BENCHES: [Need; 7] = [
    Need {
        program: "haproxy",
        package: "haproxy",
        why: "a peer of the gateway",
    },
    Need {
        program: "nginx",
        package: "nginx-light",
        why: "a peer of the gateway",
    },
    Need {
        program: "nsd",
        package: "nsd",
        why: "a peer of the name server",
    },
    Need {
        program: "dnsperf",
        package: "dnsperf",
        why: "load for name servers",
    },
    MEDIA,
    Need {
        program: "tsfilter.tstools",
        package: "tstools",
        why: "a peer of the packet path",
    },
    Need {
        program: "multicat",
        package: "multicat",
        why: "a peer of the encoder's pacing",
    },
];

/// Sets up what the tests need.
pub(crate) fn for_tests() -> Result<()> {
    install(&TESTS)?;
    // Without one of these the tests that need it fail, and say why.
    if let Err(error) = crate::media::media(None) {
        eprintln!("no transport streams: {error:#}");
    }
    if let Err(error) = sdks::browser() {
        eprintln!("no driver for a browser: {error:#}");
    }
    if let Err(error) = python::set_up() {
        eprintln!("no Python packages: {error:#}");
    }
    if let Err(error) = sdks::javascript() {
        eprintln!("no OpenTelemetry for JavaScript: {error:#}");
    }
    if let Err(error) = sdks::rust() {
        eprintln!("no OpenTelemetry for Rust: {error:#}");
    }
    Ok(())
}

/// Sets up what makes transport streams.
pub(crate) fn for_media() -> Result<()> {
    install(&[MEDIA])
}

/// Sets up what the benchmarks need.
pub(crate) fn for_benches() -> Result<()> {
    install(&BENCHES)?;
    // Without it the benchmark that needs it fails, and says why.
    if let Err(error) = python::set_up() {
        eprintln!("no nats-server: {error:#}");
    }
    crate::media::media(None)
}

/// Installs the packages of missing programs, where this user may; else says what is missing: the
/// tests that need it say so themselves.
fn install(needs: &[Need]) -> Result<()> {
    let missing: Vec<&Need> = needs.iter().filter(|need| !on_path(need.program)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    for need in &missing {
        eprintln!("missing: {} ({})", need.program, need.why);
    }
    let packages = missing.iter().flat_map(|need| need.package.split(' '));
    let packages: Vec<&str> = packages.collect();
    let root = Command::new("id")
        .arg("-u")
        .output()
        .is_ok_and(|id| id.stdout.trim_ascii() == b"0");
    if !root || !on_path("apt-get") {
        eprintln!("install them with: apt-get install {}", packages.join(" "));
        return Ok(());
    }
    let apt = |args: &[&str]| {
        let mut command = Command::new("apt-get");
        command.env("DEBIAN_FRONTEND", "noninteractive");
        crate::run::run(command.args(["-qq", "-y"]).args(args))
    };
    apt(&["update"])?;
    let mut args = vec!["install", "--no-install-recommends"];
    args.extend(packages);
    apt(&args)
}

fn on_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let sbin = [
        Path::new("/usr/sbin").to_owned(),
        Path::new("/sbin").to_owned(),
    ];
    std::env::split_paths(&path)
        .chain(sbin)
        .any(|dir| dir.join(program).is_file())
}
