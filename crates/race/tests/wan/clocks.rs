//! Clocks over the lab's ways, held against the truth: all run on one machine's clock, so what each
//! should have been told is known.

use selvedge_lab::Shape;

use crate::fleet::{Fleet, TO_SITES, clock, plan};

/// How far off each site's common clock is, with its noise and bound.
fn errors(fleet: &Fleet, clocks: &[selvedge_race::HostClock]) -> Vec<(i64, i64, i64)> {
    let errors = fleet.replicas.iter().zip(clocks).map(|(replica, clock)| {
        let (estimate, _) = replica.as_ref().expect("runs").estimate().expect("known");
        // Of three tries the one in which the least time passed between the readings.
        let tries = (0..3).map(|_| {
            let before = fleet.master.now();
            let local = clock.now();
            let after = fleet.master.now();
            let middle = before + (after - before) / 2;
            (
                after - before,
                (estimate.common(local) - middle).abs(),
                local,
            )
        });
        let (width, error, local) = tries.min_by_key(|tried| tried.0).expect("three");
        (
            error - width,
            estimate.noise_at(local),
            estimate.bound_at(local),
        )
    });
    errors.collect()
}

fn settled(fleet: &Fleet) {
    fleet.until("exchanges", |fleet| {
        fleet
            .master
            .status(0)
            .replicas
            .iter()
            .all(|replica| replica.exchanges >= 100)
    });
}

#[test]
fn on_ways_as_long_there_as_back_the_error_is_within_the_noise() {
    let clocks: Vec<_> = (0..5).map(clock).collect();
    let Some(fleet) = Fleet::start(&plan(), &clocks, |_| {}) else {
        return;
    };
    settled(&fleet);
    for (error, noise, bound) in errors(&fleet, &clocks) {
        assert!(error <= noise && noise <= bound, "{error} {noise} {bound}");
    }
    eprintln!(
        "error, noise, bound in ns: {:?}; lab {:?}",
        errors(&fleet, &clocks),
        fleet.lab.lateness()
    );
}

#[test]
fn on_ways_that_differ_the_error_is_half_the_difference_and_within_the_bound() {
    let clocks: Vec<_> = (0..5).map(clock).collect();
    let mut plan = plan();
    // To every site 8 ms longer than back.
    for path in plan
        .paths
        .iter_mut()
        .filter(|path| path.from == "master" && path.to.starts_with("site"))
    {
        path.back_ms = Some(path.delay_ms - 8.0);
    }
    let Some(fleet) = Fleet::start(&plan, &clocks, |_| {}) else {
        return;
    };
    settled(&fleet);
    for (site, (error, _, bound)) in errors(&fleet, &clocks).into_iter().enumerate() {
        assert!(error <= bound, "{error} {bound}");
        assert!(
            (error - 4_000_000).abs() < 2_000_000,
            "half of 8 ms: {error}"
        );
        let round = ((2.0 * TO_SITES[site] - 8.0) * 1e6) as i64;
        assert!(
            bound >= round / 2,
            "{bound} is below half the round trip {round}"
        );
    }
}

#[test]
fn losses_jitter_and_reordering_stay_within_the_bound() {
    let clocks: Vec<_> = (0..5).map(clock).collect();
    let mut plan = plan();
    for path in plan
        .paths
        .iter_mut()
        .filter(|path| path.to.starts_with("site"))
    {
        (path.jitter_ms, path.loss, path.reorder) = (3.0, 0.05, 0.05);
    }
    let Some(fleet) = Fleet::start(&plan, &clocks, |_| {}) else {
        return;
    };
    settled(&fleet);
    for (error, _, bound) in errors(&fleet, &clocks) {
        assert!(error <= bound, "{error} {bound}");
    }
    // A way that becomes longer is no jump of a clock.
    for site in 0..5 {
        let longer = Shape::delay(std::time::Duration::from_millis(90));
        fleet.lab.shape("master", &format!("site-{site}"), longer);
    }
    let before: u64 = fleet
        .master
        .status(0)
        .replicas
        .iter()
        .map(|replica| replica.echoes)
        .sum();
    fleet.until("more exchanges", |fleet| {
        fleet
            .master
            .status(0)
            .replicas
            .iter()
            .map(|replica| replica.echoes)
            .sum::<u64>()
            > before + 100
    });
    for (error, _, bound) in errors(&fleet, &clocks) {
        assert!(error <= bound, "{error} {bound}");
    }
    assert!(
        fleet
            .master
            .status(0)
            .replicas
            .iter()
            .all(|replica| replica.jumps == 0)
    );
}
