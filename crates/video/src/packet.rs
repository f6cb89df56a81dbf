//! One packet of a transport stream (ISO/IEC 13818-1, 2.4.3): 188 bytes, read and changed in place.

/// Bytes of a packet.
pub const PACKET: usize = 188;
/// A packet's first byte.
pub const SYNC: u8 = 0x47;
/// The packet identifier of null packets.
pub const NULL_PID: u16 = 0x1FFF;
/// The packet identifier of the programme association table.
pub const PAT_PID: u16 = 0;
/// How many packet identifiers there are.
pub(crate) const PIDS: usize = 8192;

/// The bytes of a packet.
pub type Bytes = [u8; PACKET];

/// A null packet.
pub const NULL: Bytes = {
    let mut bytes = [0xFF; PACKET];
    bytes[0] = SYNC;
    bytes[1] = 0x1F;
    bytes[2] = 0xFF;
    bytes[3] = 0x10;
    bytes
};

/// A packet's packet identifier.
#[must_use]
pub fn pid(packet: &Bytes) -> u16 {
    u16::from(packet[1] & 0x1F) << 8 | u16::from(packet[2])
}

/// Whether a section or a PES packet begins in it.
#[must_use]
pub fn starts_unit(packet: &Bytes) -> bool {
    packet[1] & 0x40 != 0
}

/// Whether whoever received it found it damaged.
#[must_use]
pub fn is_damaged(packet: &Bytes) -> bool {
    packet[1] & 0x80 != 0
}

/// Whether its payload is scrambled.
#[must_use]
pub fn is_scrambled(packet: &Bytes) -> bool {
    packet[3] & 0xC0 != 0
}

/// Whether it has a payload.
#[must_use]
pub fn has_payload(packet: &Bytes) -> bool {
    packet[3] & 0x10 != 0
}

/// Its continuity counter, 0 to 15.
#[must_use]
pub fn continuity(packet: &Bytes) -> u8 {
    packet[3] & 0x0F
}

/// Gives it a continuity counter; only the four lowest bits count.
pub fn set_continuity(packet: &mut Bytes, counter: u8) {
    packet[3] = packet[3] & 0xF0 | counter & 0x0F;
}

/// Gives it a packet identifier.
pub fn set_pid(packet: &mut Bytes, pid: u16) {
    packet[1] = packet[1] & 0xE0 | (pid >> 8) as u8 & 0x1F;
    packet[2] = pid as u8;
}

/// The flags of its adaptation field, where it has one with flags and it ends within the packet.
fn flags(packet: &Bytes) -> Option<u8> {
    let fits = packet[3] & 0x20 != 0 && (1..=183).contains(&packet[4]);
    fits.then_some(packet[5])
}

/// Whether a decoder can begin here.
#[must_use]
pub fn is_random_access(packet: &Bytes) -> bool {
    flags(packet).is_some_and(|flags| flags & 0x40 != 0)
}

/// Whether it says that its clock or its counter jumps.
#[must_use]
pub fn is_discontinuity(packet: &Bytes) -> bool {
    flags(packet).is_some_and(|flags| flags & 0x80 != 0)
}

/// Says that its clock jumps, where it has an adaptation field with flags.
pub fn set_discontinuity(packet: &mut Bytes) {
    if flags(packet).is_some() {
        packet[5] |= 0x80;
    }
}

/// Its programme clock reference in ticks of 27 MHz, if it has one.
#[must_use]
pub fn pcr(packet: &Bytes) -> Option<u64> {
    if flags(packet)? & 0x10 == 0 || packet[4] < 7 {
        return None;
    }
    let b: [u64; 6] = std::array::from_fn(|i| u64::from(packet[6 + i]));
    let base = b[0] << 25 | b[1] << 17 | b[2] << 9 | b[3] << 1 | b[4] >> 7;
    let extension = (b[4] & 1) << 8 | b[5];
    // An extension of 300 or more is forbidden; what the clock means by it is nothing.
    (extension < 300).then_some(base * 300 + extension)
}

/// Writes a programme clock reference over the one that it has; the bits between stay.
pub fn set_pcr(packet: &mut Bytes, pcr: u64) {
    let (base, extension) = ((pcr / 300) & 0x1_FFFF_FFFF, pcr % 300);
    packet[6] = (base >> 25) as u8;
    packet[7] = (base >> 17) as u8;
    packet[8] = (base >> 9) as u8;
    packet[9] = (base >> 1) as u8;
    packet[10] = (base << 7) as u8 | packet[10] & 0x7E | (extension >> 8) as u8;
    packet[11] = extension as u8;
}

/// Where its payload begins, if it has one that begins within the packet.
#[must_use]
pub fn payload(packet: &Bytes) -> Option<usize> {
    if !has_payload(packet) {
        return None;
    }
    let start = match packet[3] & 0x20 {
        0 => 4,
        _ => 5 + usize::from(packet[4]),
    };
    (start < PACKET).then_some(start)
}

/// A packet with a programme clock reference and nothing else. It bears the counter of the one before
/// it; that is left to the caller.
#[must_use]
pub fn reference(pid: u16, pcr: u64) -> Bytes {
    let mut packet = [0xFF; PACKET];
    packet[0] = SYNC;
    packet[1] = 0;
    set_pid(&mut packet, pid);
    packet[3] = 0x20;
    packet[4] = (PACKET - 5) as u8;
    packet[5] = 0x10;
    set_pcr(&mut packet, pcr);
    packet
}

/// A packet of ours: header, stuffing as an adaptation field where the payload is short.
/// `payload` is 1 to 184 bytes; what is longer stays outside.
#[must_use]
pub(crate) fn build(pid: u16, starts: bool, counter: u8, payload: &[u8]) -> Bytes {
    let mut packet = [0xFF; PACKET];
    packet[0] = SYNC;
    packet[1] = if starts { 0x40 } else { 0 };
    set_pid(&mut packet, pid);
    packet[3] = 0x10 | counter & 0x0F;
    let length = payload.len().min(PACKET - 4);
    let start = PACKET - length;
    if start > 4 {
        packet[3] |= 0x20;
        packet[4] = (start - 5) as u8;
        if start > 5 {
            packet[5] = 0;
        }
    }
    packet[start..].copy_from_slice(&payload[..length]);
    packet
}
