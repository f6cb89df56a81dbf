//! A printer: lines over TCP, a protocol with no room for metadata.
//!
//! - `PRINT <job> <text>`: the identifier comes beside it, in a datagram that names the job. Either
//!   may be first; the printer waits for it a little.
//! - `STORE <job> <token>`: the identifier lies under the token in a store that both sides reach.
//!
//! Each is answered `QUEUED` at once, and then `OK <origin>` or `NO <why>`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use selvedge::{Arrival, Beside, BesideOptions, End, Node, References};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::io::{BufReader, Lines, Take};
use tokio::net::{TcpListener, TcpStream, UdpSocket};

use crate::args;
use crate::fleet;

/// The longest line, in bytes.
const LINE_MAX: u64 = 4096;

/// How long a job waits for its identifier.
const WAIT: Duration = Duration::from_secs(5);

struct Printer {
    node: Node,
    beside: Beside,
    references: Option<References>,
}

pub(crate) async fn run(args: args::Printer) -> Result<()> {
    let node = fleet::join(&args.member, "printer").await?;
    let http = reqwest::Client::new();
    let printer = Arc::new(Printer {
        beside: Beside::new(node.clone(), BesideOptions::default()),
        references: args.references.map(|url| References::new(http, &url)),
        node: node.clone(),
    });
    let datagrams = UdpSocket::bind("127.0.0.1:0").await?;
    let beside = datagrams.local_addr()?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let lines = listener.local_addr()?;
    let listening = {
        let printer = printer.clone();
        tokio::spawn(async move { printer.beside.listen(&datagrams).await })
    };
    let accepting = tokio::spawn(async move {
        while let Ok((stream, peer)) = listener.accept().await {
            let printer = printer.clone();
            tokio::spawn(async move { printer.serve(stream, peer).await });
        }
    });
    fleet::serve(&args.member, &node, &[("lines", lines), ("beside", beside)]).await?;
    listening.abort();
    accepting.abort();
    Ok(())
}

impl Printer {
    async fn serve(&self, mut stream: TcpStream, peer: SocketAddr) -> Result<()> {
        let (read, mut write) = stream.split();
        let mut lines = BufReader::new(read.take(LINE_MAX)).lines();
        while let Some(line) = lines.next_line().await? {
            write.write_all(b"QUEUED\n").await?;
            let answer = self.answer(&line, peer).await;
            write.write_all(format!("{answer}\n").as_bytes()).await?;
            lines.get_mut().get_mut().set_limit(LINE_MAX);
        }
        Ok(())
    }

    async fn answer(&self, line: &str, peer: SocketAddr) -> String {
        let mut words = line.splitn(3, ' ');
        let (Some(verb @ ("PRINT" | "STORE")), Some(job), Some(rest)) =
            (words.next(), words.next(), words.next())
        else {
            return "NO such line: PRINT <job> <text>, or STORE <job> <token>".to_owned();
        };
        let identifier = match (verb, &self.references) {
            ("PRINT", _) => self.beside.of(job.as_bytes(), WAIT).await,
            (_, Some(references)) => references.get(rest.as_bytes()).await,
            (_, None) => None,
        };
        let arrival = Arrival::new(verb, job).from(peer.ip());
        let exchange = arrival
            .identifier(identifier.as_ref())
            .take(&self.node)
            .await;
        exchange.finish(End::status(200)).await;
        format!("OK {}", exchange.identifier().origin())
    }
}

/// A job at the printer.
pub(crate) struct Job {
    answers: Lines<BufReader<Take<TcpStream>>>,
}

impl Job {
    /// Sends its line. Once this returns, the printer has it.
    pub(crate) async fn send(address: SocketAddr, line: &str) -> Result<Self> {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(format!("{line}\n").as_bytes()).await?;
        let mut answers = BufReader::new(stream.take(LINE_MAX)).lines();
        let queued = answers.next_line().await?;
        anyhow::ensure!(queued.as_deref() == Some("QUEUED"), "the printer hung up");
        Ok(Self { answers })
    }

    /// Waits for its end: the origin that the printer took it for.
    pub(crate) async fn printed(mut self) -> Result<String> {
        let answer = self.answers.next_line().await?.unwrap_or_default();
        let origin = answer.strip_prefix("OK ");
        Ok(origin.context("the printer said no")?.to_owned())
    }
}
