//! A running server, ended with its handle.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;

use serde_json::Value;
use tempfile::TempDir;

use crate::{Query, selvedge};

/// A process that serves. Dropped, it is killed.
pub struct Server {
    child: Child,
    ports: Value,
    says: mpsc::Receiver<String>,
}

impl Server {
    /// Starts `command`, with a ports file in `folder`, and waits until it says that it serves.
    ///
    /// # Panics
    /// When it ends first.
    #[must_use]
    pub fn start(mut command: Command, folder: &Path) -> Self {
        let file = tempfile::Builder::new()
            .prefix("ports-")
            .tempfile_in(folder)
            .expect("a ports file");
        command.arg("--ports-file").arg(file.path());
        let mut child = command.stdout(Stdio::piped()).spawn().expect("it starts");
        let mut out = BufReader::new(child.stdout.take().expect("piped"));
        let mut line = String::new();
        out.read_line(&mut line).expect("readable");
        if !line.contains("serves") {
            let status = child.wait();
            panic!("{command:?} did not serve: {status:?} {line}");
        }
        let (said, says) = mpsc::channel();
        std::thread::spawn(move || {
            // Whatever else it prints must not fill the pipe.
            for line in out.lines().map_while(Result::ok) {
                let _ = said.send(line);
            }
        });
        let text = std::fs::read_to_string(file.path()).expect("the ports file is there");
        Self {
            child,
            ports: serde_json::from_str(&text).expect("JSON"),
            says,
        }
    }

    /// Sends a signal, as in `HUP`.
    ///
    /// # Panics
    /// When it has ended.
    pub fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill")
            .args([&format!("-{name}"), &pid])
            .status();
        assert!(sent.expect("kill runs").success());
    }

    /// Waits for a line of its standard output that contains `text`.
    ///
    /// # Panics
    /// When it ends first.
    pub fn wait_for(&self, text: &str) -> String {
        let mut lines = self.says.iter();
        let found = lines.find(|line| line.contains(text));
        found.unwrap_or_else(|| panic!("it never said {text:?}"))
    }

    /// Where a part of it listens, as `host:port`.
    ///
    /// # Panics
    /// When there is no such part.
    #[must_use]
    pub fn address(&self, part: &str) -> &str {
        let address = self.ports[part].as_str();
        address.unwrap_or_else(|| panic!("no {part} among {}", self.ports))
    }

    /// Where a part of it listens, if it has that part.
    #[must_use]
    pub fn part(&self, part: &str) -> Option<String> {
        self.ports[part].as_str().map(str::to_owned)
    }

    /// A part's URL.
    #[must_use]
    pub fn url(&self, part: &str) -> String {
        format!("http://{}", self.address(part))
    }

    /// The process's id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends it as nothing expects: SIGKILL.
    pub fn kill(&mut self) {
        self.child.kill().expect("it ran");
        self.child.wait().expect("it ends");
    }

    /// Asks it to stop (SIGTERM), and waits for its end.
    ///
    /// # Panics
    /// When it does not end well.
    pub fn stop(&mut self) {
        self.signal("TERM");
        let status = self.child.wait().expect("it ends");
        assert!(status.success(), "it ended with {status}");
    }

    /// Resident memory now, in bytes (Linux).
    ///
    /// # Panics
    /// When it has ended.
    #[must_use]
    pub fn resident_bytes(&self) -> u64 {
        let path = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(path).expect("it runs");
        let line = status.lines().find(|line| line.starts_with("VmRSS:"));
        let kib = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
        kib.expect("VmRSS is there") * 1024
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `selvedge up`, on free ports and in a folder of its own.
pub struct Up {
    server: Server,
    folder: TempDir,
    args: Vec<String>,
}

impl Up {
    /// Starts it, with more arguments.
    #[must_use]
    pub fn start(args: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let args: Vec<String> = args.iter().map(ToString::to_string).collect();
        let server = Server::start(command(&args, folder.path()), folder.path());
        Self {
            server,
            folder,
            args,
        }
    }

    /// Starts it again, on the same data, after its end.
    pub fn restart(&mut self) {
        let command = command(&self.args, self.folder.path());
        self.server = Server::start(command, self.folder.path());
    }

    /// The process.
    #[must_use]
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// The process.
    pub fn server_mut(&mut self) -> &mut Server {
        &mut self.server
    }

    /// Where clients go.
    #[must_use]
    pub fn gateway(&self) -> String {
        self.server.url("gateway")
    }

    /// The admin port's URL.
    #[must_use]
    pub fn admin(&self) -> String {
        self.server.url("admin")
    }

    /// The query API.
    #[must_use]
    pub fn query(&self) -> Query {
        Query::new(self.admin())
    }

    /// A server's journal.
    #[must_use]
    pub fn journal(&self, server: &str) -> PathBuf {
        self.data().join("journals").join(server)
    }

    /// The data folder.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }
}

fn command(args: &[String], folder: &Path) -> Command {
    let mut command = selvedge(&["up", "--ephemeral", "--data"]);
    command.arg(folder.join("data")).args(args);
    command
}
