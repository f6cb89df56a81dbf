//! The line through what was measured: offset and rate, by weighted least squares.
//!
//! An exchange that took longer than the shortest one waited somewhere, and by symmetry half of
//! that, at most, is its error: so it weighs less, by that error squared. The rate has a prior, zero
//! give or take [`DRIFT_MAX`](crate::DRIFT_MAX) / 2, so that two exchanges a moment apart do not
//! make a wild one.

/// One measured point. Times in seconds before or after the reference, the rest in nanoseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Point {
    pub(crate) time: f64,
    pub(crate) offset: f64,
    /// What its round trip took beyond the shortest.
    pub(crate) excess: f64,
}

/// The line at the reference.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Line {
    /// In nanoseconds.
    pub(crate) offset: f64,
    /// In nanoseconds a second.
    pub(crate) rate: f64,
    /// How far off the offset may be, in nanoseconds.
    pub(crate) noise: f64,
}

/// What stamps of a kernel and its wake-ups leave even of the best exchange, in nanoseconds.
const FLOOR: f64 = 2_000.0;

/// The prior's width, in nanoseconds a second: 100 parts in a million.
const RATE_PRIOR: f64 = 100_000.0;

/// How many standard deviations `noise` spans: the worst of 300,000 estimates, on paths whose queues
/// held exchanges for up to 0.3 ms in the mean with spikes and losses, was off by two thirds of it.
const DEVIATIONS: f64 = 6.0;

/// The shortest round trip seen is not the shortest there is. How far above it lies shows in how far
/// apart the shortest few are: half of what this many of them span is added to each one's error.
const SHORTEST: usize = 6;

pub(crate) fn fit(points: &[Point]) -> Line {
    let floor = FLOOR + shortest_span(points) / 2.0;
    let weight = |point: &Point| (floor + point.excess / 2.0).powi(-2);
    let (mut w, mut wt, mut wtt, mut wy, mut wty, mut we) =
        (0.0, 0.0, RATE_PRIOR.powi(-2), 0.0, 0.0, 0.0);
    for point in points {
        let weight = weight(point);
        w += weight;
        wt += weight * point.time;
        wtt += weight * point.time * point.time;
        wy += weight * point.offset;
        wty += weight * point.time * point.offset;
        we += weight * point.excess / 2.0;
    }
    // With one point or more, the prior keeps this above zero.
    let determinant = w * wtt - wt * wt;
    let offset = (wtt * wy - wt * wty) / determinant;
    let rate = (w * wty - wt * wy) / determinant;
    let squares: f64 = points
        .iter()
        .map(|point| weight(point) * (point.offset - offset - rate * point.time).powi(2))
        .sum();
    #[expect(clippy::cast_precision_loss, reason = "a few hundred points")]
    let count = points.len() as f64;
    // Where the points scatter more than their excess says, the doubt is larger by as much.
    let scatter = (squares / (count - 2.0).max(1.0)).max(1.0);
    let deviation = (wtt / determinant * scatter).sqrt();
    // Waiting that is always on the same leg shifts all points to the same side.
    let bias = we / w;
    Line {
        offset,
        rate,
        noise: floor + DEVIATIONS * (1.0 + 4.0 / count) * deviation + bias,
    }
}

fn shortest_span(points: &[Point]) -> f64 {
    let mut shortest = [f64::INFINITY; SHORTEST];
    for point in points {
        let mut excess = point.excess;
        for held in &mut shortest {
            if excess < *held {
                std::mem::swap(held, &mut excess);
            }
        }
    }
    let known = points.len().min(SHORTEST);
    shortest[..known].last().copied().unwrap_or(0.0)
}
