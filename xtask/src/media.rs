//! `cargo xtask media`: transport streams for tests and for the channel of `selvedge up`, made with
//! Debian's ffmpeg.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::run::{root, run};

/// Where they are made; the tests look there too.
const FOLDER: &str = "target/media";

/// A stream: pictures, a tone, null packets.
struct Made {
    name: &'static str,
    /// Of what ffmpeg draws: pictures that count, or one colour.
    drawn: &'static str,
    seconds: u32,
    size: &'static str,
    /// Of the pictures, and of the whole.
    bits: [u32; 2],
}

const ALL: [Made; 3] = [
    Made {
        name: "channel.ts",
        drawn: "testsrc2=",
        seconds: 20,
        size: "640x360",
        bits: [1_000_000, 1_500_000],
    },
    Made {
        name: "five.ts",
        drawn: "testsrc2=",
        seconds: 20,
        size: "640x360",
        bits: [4_000_000, 5_000_000],
    },
    // A clip that fits into the channel.
    Made {
        name: "green.ts",
        drawn: "color=c=green:",
        seconds: 4,
        size: "480x270",
        bits: [600_000, 1_000_000],
    },
];

/// Makes what is missing; copies the channel's to `to` where one is given.
pub(crate) fn media(to: Option<&str>) -> Result<()> {
    let folder = root().join(FOLDER);
    std::fs::create_dir_all(&folder)?;
    for made in &ALL {
        let path = folder.join(made.name);
        if !path.exists() {
            make(made, &path)?;
        }
    }
    if let Some(to) = to {
        let from: PathBuf = folder.join(ALL[0].name);
        std::fs::copy(&from, to).with_context(|| format!("cannot write {to}"))?;
        println!("{to}");
    }
    Ok(())
}

fn make(made: &Made, path: &Path) -> Result<()> {
    let part = path.with_extension("part");
    let [pictures, whole] = made.bits;
    let video = format!(
        "{}size={}:rate=25:duration={}",
        made.drawn, made.size, made.seconds
    );
    let sound = format!(
        "sine=frequency=440:sample_rate=48000:duration={}",
        made.seconds
    );
    let pictures = pictures.to_string();
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error", "-y", "-f", "lavfi", "-i", &video]);
    command.args(["-f", "lavfi", "-i", &sound]);
    command.args([
        "-c:v",
        "libx264",
        "-preset",
        "veryfast",
        "-tune",
        "zerolatency",
    ]);
    // A key frame every second, so that segments can be short.
    command.args(["-g", "25", "-keyint_min", "25", "-sc_threshold", "0"]);
    command.args([
        "-b:v", &pictures, "-maxrate", &pictures, "-bufsize", &pictures,
    ]);
    command.args(["-pix_fmt", "yuv420p", "-c:a", "aac", "-b:a", "64k"]);
    // Of constant rate, with null packets: room for what is placed.
    command.args(["-f", "mpegts", "-muxrate", &whole.to_string()]);
    run(command.arg(&part)).context("ffmpeg")?;
    std::fs::rename(&part, path)?;
    Ok(())
}
