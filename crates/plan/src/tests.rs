//! The arithmetic against a case worked out by hand, and against what must hold for every fleet.

use proptest::prelude::*;

use super::*;
use crate::measured as m;

fn fleet(servers: u64, rate: f64) -> Fleet {
    Fleet {
        servers,
        rate,
        calls: 0.0,
        entry_bytes: None,
        sessions: 0,
        state_bytes: 0.0,
        readers: 1,
        memory_bytes_max: 256 << 20,
        memory_age_s: 86_400,
        state_bytes_max: 64 << 20,
        link_bits_per_s: 1e9,
    }
}

fn close(a: f64, b: f64) {
    assert!((a - b).abs() <= 1e-6 * b.abs(), "{a} is not {b}");
}

#[test]
fn four_servers_at_a_thousand_requests_a_second_come_to_what_is_worked_out_by_hand() {
    let plan = Plan::of(fleet(4, 1_000.0));
    // Each server announces 250 requests of 2 records, each a batch and a packet of its own.
    let of_record = m::BATCH_BYTES + m::BATCH_RECORD_BYTES + m::PACKET_BYTES;
    let own = 250.0 * m::ENTRY_BYTES + 500.0 * of_record;
    close(plan.server.out.bytes_per_s, own);
    let gateway = 1_000.0 * m::GATEWAY_BYTES + 2_000.0 * of_record;
    close(plan.server.into.bytes_per_s, 3.0 * own + gateway);
    close(plan.server.into.records_per_s, 1_500.0 + 2_000.0);
    // The hub gets four journals and gives each to three servers and the repository, and the
    // gateway's to all five.
    close(plan.hub.into.bytes_per_s, 4.0 * own);
    close(plan.hub.out.bytes_per_s, 16.0 * own + 5.0 * gateway);
    // Of JetStream's 3,650 messages a second each of five journals has 730: the servers' 500
    // records go one by one, the gateway's 2,000 by threes. All of it goes to two replicas, to the
    // five processes and the repository.
    let of_message = m::JETSTREAM_MESSAGE_BYTES + m::PACKET_BYTES;
    let records = 4_000.0 * m::BATCH_RECORD_BYTES + 2_730.0 * of_message;
    let jetstream = 1_000.0 * (m::ENTRY_BYTES + m::GATEWAY_BYTES) + records;
    close(plan.jetstream.into.bytes_per_s, jetstream);
    close(plan.jetstream.out.bytes_per_s, 8.0 * jetstream);
    // 256 MiB at 1,000 entries a second.
    close(
        plan.server.memory.reaches_s,
        f64::from(256 << 20) / (1_000.0 * m::HELD_BYTES),
    );
    assert_eq!(plan.limits.len(), 5);
    assert!(
        plan.advice[0].contains("embedded hub carries it"),
        "{:?}",
        plan.advice
    );
    assert!(
        plan.advice[1].contains("reaches 331 s back"),
        "{:?}",
        plan.advice
    );
}

#[test]
fn a_busy_journal_is_batched_by_its_disk_and_filled_packets() {
    let few = Plan::of(fleet(1, 1_000.0));
    let many = Plan::of(fleet(1, 100_000.0));
    let per_record = |plan: &Plan| plan.server.out.bytes_per_s / plan.server.out.records_per_s;
    close(many.server.out.batches_per_s, m::COMMITS_PER_S_MAX);
    assert!(per_record(&many) < per_record(&few) * 0.75);
}

#[test]
fn the_advice_goes_from_the_hub_to_jetstream_to_fleets_apart() {
    let said = |servers, rate| Plan::of(fleet(servers, rate)).advice[0].clone();
    assert!(said(3, 1_000.0).contains("embedded hub carries it"));
    assert!(said(100, 50_000.0).contains("split the 100 servers into"));
    let mut wide = fleet(200, 20_000.0);
    wide.link_bits_per_s = 1e11;
    let said = Plan::of(wide).advice[0].clone();
    assert!(
        said.contains("the hub's processor") && said.contains("JetStream does"),
        "{said}"
    );
}

#[test]
fn too_many_sessions_for_their_room_are_told_what_room_they_need() {
    let mut fleet = fleet(4, 100.0);
    fleet.sessions = 1_000_000;
    fleet.state_bytes = 400.0;
    let plan = Plan::of(fleet);
    let said = plan.advice.last().expect("some");
    assert!(said.contains("set state_bytes_max to 6 GiB"), "{said}");
    assert!(plan.server.memory.state_sessions < 12_000.0);
}

#[test]
fn without_an_age_memory_is_bounded_by_its_bytes_alone() {
    let mut fleet = fleet(2, 1.0);
    let bounded = Plan::of(fleet.clone()).server.memory;
    close(bounded.reaches_s, 86_400.0);
    close(bounded.bytes, 86_400.0 * m::HELD_BYTES);
    fleet.memory_age_s = 0;
    let memory = Plan::of(fleet).server.memory;
    assert_eq!(memory.bytes_for_age, None);
    close(memory.bytes, f64::from(256 << 20));
}

proptest! {
    #[test]
    fn what_the_hub_gives_is_what_everybody_gets(
        servers in 1..500_u64,
        rate in 1.0..1e6_f64,
        calls in 0.0..20.0_f64,
        readers in 0..10_u64,
    ) {
        let plan = Plan::of(Fleet { calls, readers, ..fleet(servers, rate) });
        let all = plan.hub.into.records_per_s
            + rate * plan.per_request.gateway_records;
        let got = plan.server.into.records_per_s * servers as f64 + all * readers as f64;
        close(plan.hub.out.records_per_s, got);
        close(plan.hub.into.records_per_s, plan.server.out.records_per_s * servers as f64);
        prop_assert!(plan.limits.windows(2).all(|two| two[0].used >= two[1].used));
        prop_assert!(plan.limits.iter().all(|limit| limit.rate_max.is_finite()));
        prop_assert!(plan.advice.iter().all(|advice| !advice.contains("inf") && !advice.contains("NaN")));
    }

    #[test]
    fn a_greater_fleet_or_rate_costs_more(
        servers in 1..200_u64,
        rate in 1.0..1e5_f64,
        more in 1.1..10.0_f64,
    ) {
        let plan = Plan::of(fleet(servers, rate));
        let busier = Plan::of(fleet(servers, rate * more));
        let larger = Plan::of(fleet(servers + 1, rate));
        prop_assert!(busier.server.into.bytes_per_s > plan.server.into.bytes_per_s);
        prop_assert!(busier.hub.out.bytes_per_s > plan.hub.out.bytes_per_s);
        prop_assert!(busier.server.cores > plan.server.cores);
        prop_assert!(larger.hub.out.bytes_per_s > plan.hub.out.bytes_per_s);
        prop_assert!(busier.server.memory.reaches_s <= plan.server.memory.reaches_s);
    }
}
