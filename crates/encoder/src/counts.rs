//! What an encoder counts.

use std::sync::{Arc, Mutex, PoisonError};

use selvedge_video::Faults;

/// Counters since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EncoderCounts {
    /// Packets that came, and that went out.
    pub packets_in: u64,
    /// Packets that went out.
    pub packets_out: u64,
    /// Indications that were placed.
    pub placed: u64,
    /// Broadcasts that were placed.
    pub carried: u64,
    /// Clips that came on, or wait to.
    pub shown: u64,
    /// Notifications that came again.
    pub repeated: u64,
    /// Notifications and broadcasts that cannot be said in a stream.
    pub unfit: u64,
    /// Times that the input stayed out.
    pub input_lost: u64,
    /// Packets that were made while the input was out.
    pub filled: u64,
    /// Datagrams and parts of segments that an output did not take.
    pub output_failed: u64,
    /// Faults of the stream.
    pub faults: Faults,
    /// The stream is passed on untouched.
    pub untouched: bool,
}

impl EncoderCounts {
    /// For Prometheus.
    #[must_use]
    pub fn to_prometheus(&self) -> String {
        let faults = &self.faults;
        let rows = [
            ("packets_in_total", self.packets_in),
            ("packets_out_total", self.packets_out),
            ("placed_total", self.placed),
            ("carried_total", self.carried),
            ("shown_total", self.shown),
            ("repeated_total", self.repeated),
            ("unfit_total", self.unfit),
            ("input_lost_total", self.input_lost),
            ("filled_total", self.filled),
            ("output_failed_total", self.output_failed),
            ("sync_lost_total", faults.sync_lost),
            ("bytes_skipped_total", faults.bytes_skipped),
            ("damaged_total", faults.damaged),
            ("continuity_errors_total", faults.continuity),
            ("crc_errors_total", faults.crc),
            ("pcr_jumps_total", faults.pcr_jumps),
            ("pcr_off_total", faults.pcr_off),
            ("pid_collisions_total", faults.pid_collisions),
            ("heartbeats_skipped_total", faults.heartbeats_skipped),
            ("dropped_total", faults.dropped),
        ];
        let mut out: String = rows
            .iter()
            .map(|(name, value)| {
                format!("# TYPE selvedge_encoder_{name} counter\nselvedge_encoder_{name} {value}\n")
            })
            .collect();
        let untouched = u8::from(self.untouched);
        out += "# TYPE selvedge_encoder_untouched gauge\n";
        out += &format!("selvedge_encoder_untouched {untouched}\n");
        out
    }
}

/// Counters that several threads see.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counted(Arc<Mutex<EncoderCounts>>);

impl Counted {
    pub(crate) fn change(&self, change: impl FnOnce(&mut EncoderCounts)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }

    pub(crate) fn now(&self) -> EncoderCounts {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
