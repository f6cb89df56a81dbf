//! What something else that disciplines this machine's wall clock says of it.

use std::process::Command;
use std::sync::Mutex;

use selvedge_clock::{ChronyAccount, External, Local, Nanos, chrony_account};

use crate::host::HostClock;

/// Who disciplines the wall clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Source {
    /// Nobody that is known: the exchanges tell.
    #[default]
    None,
    /// chrony, which is asked (`chronyc -c tracking`) for its bound.
    Chrony,
    /// PTP or other means, which keep it within this by whoever configured it.
    Within(Nanos),
}

/// How long chrony's account holds; chrony itself asks its servers each 16 s at the oftenest, unless
/// told otherwise.
const ACCOUNT_AGE: Nanos = 16_000_000_000;

/// The source, asked now and then.
#[derive(Debug)]
pub(crate) struct Disciplined {
    source: Source,
    clock: HostClock,
    account: Mutex<Option<(Local, Option<ChronyAccount>)>>,
}

impl Disciplined {
    pub(crate) fn new(source: Source, clock: HostClock) -> Self {
        let disciplined = Self {
            source,
            clock,
            account: Mutex::new(None),
        };
        disciplined.ask();
        disciplined
    }

    /// What it says now, from its last account.
    pub(crate) fn now(&self) -> Option<External> {
        let at = self.clock.now();
        let bound = match self.source {
            Source::None => return None,
            Source::Within(bound) => bound,
            Source::Chrony => {
                let (told, account) = (*self.account.lock().ok()?)?;
                let age = at - told;
                if age > 2 * ACCOUNT_AGE {
                    return None;
                }
                let ChronyAccount { bound, growth } = account?;
                bound.saturating_add(growth.saturating_mul(age / 1_000_000) / 1_000)
            }
        };
        Some(External {
            at,
            offset: self.clock.wall_offset(),
            bound,
        })
    }

    /// Asks anew if the last account is old. It starts a process: not from a thread that is waited
    /// for.
    pub(crate) fn ask(&self) {
        if self.source != Source::Chrony {
            return;
        }
        let now = self.clock.now();
        let last = self
            .account
            .lock()
            .ok()
            .and_then(|account| account.map(|(told, _)| told));
        if last.is_some_and(|told| now - told < ACCOUNT_AGE) {
            return;
        }
        let told = tracking();
        if let Ok(mut account) = self.account.lock() {
            *account = Some((now, told));
        }
    }
}

fn tracking() -> Option<ChronyAccount> {
    let output = Command::new("chronyc").args(["-c", "tracking"]).output();
    let report = match output {
        Ok(output) => String::from_utf8_lossy(&output.stdout).into_owned(),
        Err(error) => {
            tracing::warn!(%error, "chronyc cannot be asked, the clock is told by exchanges alone");
            return None;
        }
    };
    match chrony_account(&report) {
        Ok(account) => Some(account),
        Err(error) => {
            tracing::warn!(%error, "chrony gives no bound, the clock is told by exchanges alone");
            None
        }
    }
}
