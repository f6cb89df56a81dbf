//! How the bus over NATS JetStream is set up.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use async_nats::ServerAddr;

use super::subjects::Subjects;

/// Where NATS is, who this program is to it, and how the bus behaves.
#[derive(Clone, Debug)]
pub struct JetStreamOptions {
    /// The NATS servers, any of which will do: `nats://host:4222`, `tls://host:4222`. A user and a
    /// password, or a token alone, may stand before the host (`nats://user:password@host:4222`).
    pub servers: Vec<String>,
    /// What subjects and streams begin with: fleets that share a NATS need one each.
    pub prefix: String,
    /// The seed of an NKey to log in with.
    pub nkey: Option<String>,
    /// A `.creds` file to log in with.
    pub credentials: Option<PathBuf>,
    /// Certificates of authorities to trust besides the system's, in PEM.
    pub ca: Option<PathBuf>,
    /// This program's certificate and key, in PEM, where NATS asks for one.
    pub certificate: Option<(PathBuf, PathBuf)>,
    /// On how many NATS servers the streams are kept, where this program makes them: 1, 3 or 5.
    pub replicas: usize,
    /// How many bytes of records JetStream keeps, where this program makes the stream.
    pub retain_bytes: u64,
    /// How long JetStream keeps records, where this program makes the stream.
    pub retain_age: Duration,
    /// Recent records of each journal that this program holds for its subscribers, in bytes.
    pub ring_bytes: usize,
    /// An owner says this often that it is there.
    pub heartbeat: Duration,
    /// An owner that is silent for so long is taken for gone.
    pub idle_max: Duration,
    /// The longest wait for NATS or an owner to answer.
    pub answer_max: Duration,
    /// Bytes announced and not yet acknowledged by JetStream, per journal.
    pub window_bytes: usize,
    /// About how many bytes of records go into one message. One message is under way at a time:
    /// what comes meanwhile goes together into the next.
    pub message_bytes: usize,
}

impl JetStreamOptions {
    /// The defaults, for these servers.
    #[must_use]
    pub fn new(servers: Vec<String>) -> Self {
        Self {
            servers,
            prefix: "selvedge".to_owned(),
            nkey: None,
            credentials: None,
            ca: None,
            certificate: None,
            replicas: 1,
            retain_bytes: 1024 * 1024 * 1024,
            retain_age: Duration::from_secs(24 * 60 * 60),
            ring_bytes: 4 * 1024 * 1024,
            heartbeat: Duration::from_millis(500),
            idle_max: Duration::from_secs(2),
            answer_max: Duration::from_secs(5),
            window_bytes: 1024 * 1024,
            message_bytes: 256 * 1024,
        }
    }

    /// Whether they make sense, without asking anybody.
    ///
    /// # Errors
    /// What is wrong, and what would be right.
    pub fn check(&self) -> Result<(), String> {
        self.addresses()?;
        self.subjects()?;
        if self.replicas == 0 || self.replicas > 5 {
            return Err(format!(
                "{} replicas: JetStream keeps 1 to 5",
                self.replicas
            ));
        }
        Ok(())
    }

    pub(super) fn addresses(&self) -> Result<Vec<ServerAddr>, String> {
        if self.servers.is_empty() {
            return Err("no NATS server is named".to_owned());
        }
        let address = |url: &String| {
            // Not the address itself: a password may stand in it.
            ServerAddr::from_str(url)
                .map_err(|error| format!("not an address as nats://host:4222: {error}"))
        };
        self.servers.iter().map(address).collect()
    }

    pub(super) fn subjects(&self) -> Result<Subjects, String> {
        Subjects::new(&self.prefix).ok_or_else(|| {
            format!(
                "{:?} is no prefix of subjects: letters, digits, - and _ only",
                self.prefix
            )
        })
    }
}
