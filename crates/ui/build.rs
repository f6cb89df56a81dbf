//! Builds the page with npm where Node.js is present, in a copy, so that the source tree stays as
//! it is. Without Node.js, or where npm fails, a plain page says how to get the real one: the
//! build of the program never fails for it. `SELVEDGE_UI=off` leaves the page out.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs, io};

const INPUTS: [&str; 5] = [
    "package.json",
    "package-lock.json",
    "build.mjs",
    "tsconfig.json",
    "src",
];
const FILES: [&str; 6] = [
    "index.html",
    "app.js",
    "app.css",
    "channel.html",
    "channel.js",
    "channel.css",
];

fn main() {
    // Cargo runs this in the package's folder; relative, so that two checkouts which share a
    // target folder each look at their own.
    let source = Path::new("../../ui");
    for input in INPUTS {
        println!("cargo::rerun-if-changed={}", source.join(input).display());
    }
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=SELVEDGE_UI");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let dist = out.join("dist");
    if let Err(reason) = build(source, &out.join("ui"), &dist) {
        println!("cargo::warning=the admin page is left out: {reason}");
        plain_page(&dist, &reason).expect("OUT_DIR is writable");
    }
    // What the page's parts are known by, so that a browser asks again only for what changed.
    let mut tags = String::new();
    for file in FILES {
        let bytes = fs::read(dist.join(file)).expect("just written");
        tags.push_str(&format!(
            "(\"{file}\", \"\\\"{:08x}-{:x}\\\"\"),\n",
            crc32c::crc32c(&bytes),
            bytes.len()
        ));
    }
    fs::write(out.join("tags.rs"), format!("[\n{tags}]")).expect("OUT_DIR is writable");
}

fn build(source: &Path, work: &Path, dist: &Path) -> Result<(), String> {
    if env::var_os("SELVEDGE_UI").is_some_and(|value| value == "off") {
        return Err("SELVEDGE_UI=off".to_owned());
    }
    let copied = |error: io::Error| format!("cannot copy {}: {error}", source.display());
    // Installed packages stay in the copy from one build to the next.
    let lock = |dir: &Path| fs::read(dir.join("package-lock.json")).ok();
    let installed = lock(work).is_some_and(|held| Some(held) == lock(source))
        && work.join("installed").is_file();
    _ = fs::remove_dir_all(work.join("src"));
    fs::create_dir_all(work).map_err(copied)?;
    for input in INPUTS {
        copy(&source.join(input), &work.join(input)).map_err(copied)?;
    }
    if !installed {
        let options = [
            "ci",
            "--ignore-scripts",
            "--no-audit",
            "--no-fund",
            "--prefer-offline",
            "--fetch-retries=1",
            "--fetch-timeout=20000",
            "--loglevel=error",
        ];
        run(work, "npm", &options)?;
        fs::write(work.join("installed"), "").map_err(copied)?;
    }
    _ = fs::remove_dir_all(dist);
    let dist = dist.to_str().ok_or("the build folder's name is not text")?;
    run(work, "node", &["build.mjs", dist])
}

fn run(dir: &Path, program: &str, arguments: &[&str]) -> Result<(), String> {
    let ran = Command::new(program)
        .args(arguments)
        .current_dir(dir)
        .output()
        .map_err(|error| {
            format!("{program} does not run ({error}); install Node.js 18 or later")
        })?;
    if ran.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&ran.stderr);
    let said: String = said
        .lines()
        .filter(|line| !line.trim().is_empty())
        .take(3)
        .collect::<Vec<_>>()
        .join("; ");
    Err(format!("{program} {} failed: {said}", arguments[0]))
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    if from.is_dir() {
        fs::create_dir_all(to)?;
        for entry in fs::read_dir(from)? {
            let entry = entry?;
            copy(&entry.path(), &to.join(entry.file_name()))?;
        }
        return Ok(());
    }
    fs::copy(from, to).map(|_| ())
}

/// The page for builds without npm.
fn plain_page(dist: &Path, reason: &str) -> io::Result<()> {
    fs::create_dir_all(dist)?;
    let escaped = reason.replace('&', "&amp;").replace('<', "&lt;");
    let page = format!(
        "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\"><title>Selvedge</title>\n\
         <link rel=\"stylesheet\" href=\"/app.css\">\n<h1>Selvedge</h1>\n\
         <p>This program was built without its page ({escaped}).</p>\n\
         <p>To have it, install Node.js 18 or later with npm, touch <code>ui/package.json</code> \
         and build again.</p>\n\
         <p>The same answers as JSON: <a href=\"/api/v1/sessions\">visits</a>, \
         <a href=\"/api/v1/requests\">requests</a>, <a href=\"/api/v1/services\">services</a>, \
         <a href=\"/api/v1/openapi.json\">the API</a>.</p>\n</html>\n"
    );
    fs::write(dist.join("index.html"), page)?;
    fs::write(dist.join("app.js"), "")?;
    fs::write(
        dist.join("channel.html"),
        format!(
            "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\"><title>The channel</title>\n\
             <link rel=\"stylesheet\" href=\"/channel.css\">\n<h1>The interactive channel</h1>\n\
             <p>This program was built without its pages ({escaped}). Any player of HLS plays \
             <a href=\"/selvedge/channel/channel.m3u8\">the stream</a>.</p>\n</html>\n"
        ),
    )?;
    fs::write(dist.join("channel.js"), "")?;
    fs::write(dist.join("channel.css"), "")?;
    fs::write(
        dist.join("app.css"),
        "html { color-scheme: light dark; font-family: system-ui, sans-serif; margin: 2rem; }\n",
    )
}
