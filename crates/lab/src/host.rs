//! A host: a thread that lives in a network namespace of its own, and does there what it is told.

use std::io;
use std::net::{Ipv4Addr, UdpSocket};
use std::process::{Child, Command};
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;

use nix::sched::{CloneFlags, unshare};
use tun_rs::{DeviceBuilder, SyncDevice};

use crate::plan::HostPlan;
use crate::tap::Tap;
use crate::{LabError, system};

type Task = Box<dyn FnOnce() + Send>;

/// A host. Sockets and processes that are made inside stay in its network.
pub struct Host {
    tasks: Option<Sender<Task>>,
    thread: Option<JoinHandle<()>>,
}

impl Host {
    pub(crate) fn make(plan: &HostPlan) -> Result<(Self, Device), LabError> {
        let (tasks, told) = channel::<Task>();
        let thread = std::thread::Builder::new()
            .name(format!("lab-{}", plan.name))
            .spawn(move || {
                while let Ok(task) = told.recv() {
                    task();
                }
            });
        let thread = thread.map_err(|error| system("a thread")(&error))?;
        let host = Self {
            tasks: Some(tasks),
            thread: Some(thread),
        };
        let plan = plan.clone();
        let device = host.inside(move || set_up(&plan))?;
        Ok((host, device))
    }

    /// Does something on the host, and waits for it. Sockets that it opens are the host's wherever
    /// they are used, processes that it starts too.
    ///
    /// # Panics
    /// If what it does panics.
    pub fn inside<T: Send + 'static>(&self, what: impl FnOnce() -> T + Send + 'static) -> T {
        let (done, result) = channel();
        let task: Task = Box::new(move || {
            let _ = done.send(std::panic::catch_unwind(std::panic::AssertUnwindSafe(what)));
        });
        let sent = self.tasks.as_ref().map(|tasks| tasks.send(task));
        assert!(matches!(sent, Some(Ok(()))), "the host is gone");
        match result.recv() {
            Ok(Ok(value)) => value,
            Ok(Err(panic)) => std::panic::resume_unwind(panic),
            Err(_) => panic!("the host is gone"),
        }
    }

    /// Sends a packet to nobody: whoever reads the device looks up.
    pub(crate) fn nudge(&self) {
        self.inside(|| {
            let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0));
            let _ = socket
                .and_then(|socket| socket.send_to(&[0], (Ipv4Addr::new(10, 255, 255, 254), 9)));
        });
    }

    /// Starts a program on the host.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn spawn(&self, mut command: Command) -> io::Result<Child> {
        self.inside(move || command.spawn())
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.tasks = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// What joins a host to the star.
pub(crate) struct Device {
    /// What the host sends is read here, what it is sent written.
    pub(crate) tun: SyncDevice,
    /// When it sent that.
    pub(crate) tap: Tap,
}

/// On the host's thread: its namespace, its device, its addresses.
fn set_up(plan: &HostPlan) -> Result<Device, LabError> {
    unshare(CloneFlags::CLONE_NEWNET).map_err(|error| system("a network namespace")(&error))?;
    let tun = DeviceBuilder::new().name("lab").build_sync();
    let tun = tun.map_err(|error| system("a TUN device")(&error))?;
    let tap = Tap::open("lab").map_err(|error| system("a packet socket")(&error))?;
    let address = format!("{}/8", plan.address);
    ip(&["link", "set", "lo", "up"])?;
    ip(&["address", "replace", &address, "dev", "lab"])?;
    ip(&["link", "set", "lab", "up", "mtu", "1500"])?;
    for address in plan.also.iter().chain(&plan.loopback) {
        ip(&["address", "replace", &format!("{address}/32"), "dev", "lo"])?;
    }
    for setting in [
        "conf/all/rp_filter",
        "conf/lab/rp_filter",
        "ip_local_port_range",
    ] {
        let value = if setting.ends_with("range") {
            "20000 60999"
        } else {
            "0"
        };
        let file = format!("/proc/sys/net/ipv4/{setting}");
        std::fs::write(&file, value).map_err(|error| system(file)(&error))?;
    }
    Ok(Device { tun, tap })
}

fn ip(arguments: &[&str]) -> Result<(), LabError> {
    let what = format!("ip {}", arguments.join(" "));
    let output = Command::new("ip").args(arguments).output();
    let output = output.map_err(|error| system(what.clone())(&error))?;
    if output.status.success() {
        return Ok(());
    }
    Err(system(what)(
        &String::from_utf8_lossy(&output.stderr).trim(),
    ))
}
