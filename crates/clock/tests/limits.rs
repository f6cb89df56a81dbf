//! What an estimator refuses, and how it chooses between exchanges and an external clock (C1).

use selvedge_clock::{
    Added, Choice, ChronyAccount, ChronyError, Common, Estimator, EstimatorOptions, Exchange,
    ExchangeError, External, Local, choose, chrony_account,
};

fn exchange(sent: i64, received: i64, answered: i64, returned: i64) -> Exchange {
    Exchange {
        sent: Common(sent),
        received: Local(received),
        answered: Local(answered),
        returned: Common(returned),
    }
}

/// Ways of a millisecond each, the local clock five seconds behind.
fn measured() -> Estimator {
    let mut estimator = Estimator::new(EstimatorOptions::default());
    for step in 1..=20 {
        let now = step * 250_000_000;
        let local = now - 5_000_000_000;
        let added = estimator.add(exchange(
            now,
            local + 1_000_000,
            local + 1_010_000,
            now + 2_010_000,
        ));
        assert_eq!(added, Added::Taken);
    }
    estimator
}

#[test]
fn stamps_that_cannot_be_are_refused_and_change_nothing() {
    let mut estimator = measured();
    let before = estimator.estimate();
    for (bad, why) in [
        (exchange(10, 0, 0, 9), ExchangeError::Backwards),
        (exchange(10, 5, 4, 20), ExchangeError::Backwards),
        (
            exchange(0, 0, 5_000_000_000, 1_000_000),
            ExchangeError::Held,
        ),
        (exchange(0, 0, 0, 2_000_000_001), ExchangeError::Long),
        (
            exchange(i64::MIN, i64::MAX, i64::MIN, i64::MAX),
            ExchangeError::Backwards,
        ),
        (
            exchange(i64::MIN, i64::MIN, i64::MAX, i64::MAX),
            ExchangeError::Long,
        ),
    ] {
        assert_eq!(estimator.add(bad), Added::Refused(why), "{bad:?}");
    }
    assert_eq!(estimator.estimate(), before);
}

#[test]
fn memory_and_age_are_bounded() {
    let options = EstimatorOptions {
        window: 10_000_000_000,
        exchanges_max: 16,
        exchanges_min: 2,
    };
    let mut estimator = Estimator::new(options);
    for step in 0..1_000 {
        let now = step * 1_000_000;
        estimator.add(exchange(now, now + 10, now + 20, now + 30));
    }
    assert_eq!(estimator.exchanges(), 16);
    let now = 3_600_000_000_000;
    estimator.add(exchange(now, now + 10, now + 20, now + 30));
    assert_eq!(estimator.exchanges(), 1);
    assert_eq!(
        estimator.estimate(),
        None,
        "one exchange after an hour of silence is not enough"
    );
}

#[test]
fn the_longest_way_there_is_measured() {
    let longest = measured().longest_one_way().expect("measured");
    assert!((1_000_000..1_100_000).contains(&longest), "{longest}");
}

#[test]
fn an_external_clock_is_taken_where_it_is_better() {
    let estimator = measured();
    let external = External {
        at: Local(0),
        offset: 5_000_000_000,
        bound: 20_000,
    };
    let Some(Choice::External(estimate)) = choose(&estimator, Some(external), Some(30_000)) else {
        panic!("50 µs are better than half a round trip");
    };
    assert_eq!(
        (estimate.offset, estimate.bound, estimate.noise),
        (5_000_000_000, 50_000, 50_000)
    );
    for (replica, master) in [
        (None, Some(1)),
        (Some(external), None),
        (Some(external), Some(10_000_000)),
    ] {
        assert!(matches!(
            choose(&estimator, replica, master),
            Some(Choice::Exchange(_))
        ));
    }
}

#[test]
fn an_external_clock_that_the_exchanges_exclude_is_named_and_not_taken() {
    let wrong = External {
        at: Local(0),
        offset: 15_000_000_000,
        bound: 1_000,
    };
    let Some(Choice::Contradicted(estimate, apart)) = choose(&measured(), Some(wrong), Some(1_000))
    else {
        panic!("ten seconds off");
    };
    assert!((apart - 10_000_000_000).abs() < 1_100_000, "{apart}");
    assert!((estimate.offset - 5_000_000_000).abs() < 100_000);
}

#[test]
fn without_exchanges_no_external_clock_is_believed() {
    let external = External {
        at: Local(0),
        offset: 0,
        bound: 1,
    };
    assert_eq!(
        choose(
            &Estimator::new(EstimatorOptions::default()),
            Some(external),
            Some(1)
        ),
        None
    );
}

#[test]
fn chronys_report_says_how_far_off_the_clock_may_be() {
    let report = "A29FC87B,162.159.200.123,4,1700000000.123456789,0.000012345,0.000010000,0.000020000,\
                  -12.345,0.001,0.050,0.004000000,0.000500000,64.5,Normal\n";
    let account = ChronyAccount {
        bound: 2_512_345,
        growth: 1_050,
    };
    assert_eq!(chrony_account(report), Ok(account));
    assert_eq!(chrony_account(""), Err(ChronyError::Field(13)));
    assert_eq!(
        chrony_account(&report.replace("Normal", "Not synchronised")),
        Err(ChronyError::Unsynchronised("Not synchronised".to_owned()))
    );
    for bad in ["NaN", "inf", "", "x"] {
        assert_eq!(
            chrony_account(&report.replace("0.004000000", bad)),
            Err(ChronyError::Field(10))
        );
    }
}
