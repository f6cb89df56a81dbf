//! Trees of sizes at which recursion or quadratic work would show.

use std::sync::Arc;

use selvedge_calltree::{Evidence, Handle, Observation, Place, TreeBuilder};
use selvedge_entry::{Direction, Outcome, Text, Timestamp};
use selvedge_identity::{Interaction, Origin, RequestIdentifier, StackId};

struct Maker {
    origin: Origin,
    service: Text,
    made: u128,
}

impl Maker {
    fn new() -> Self {
        Self {
            origin: Origin::new(5, [5; 10]),
            service: Arc::from("service"),
            made: 0,
        }
    }

    fn id(number: usize, width: u8) -> StackId {
        let mixed = (number as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        StackId::of(Interaction::from_random(mixed.to_be_bytes()), width)
    }

    fn entry(&mut self, depth: u32, stack: &[StackId]) -> Observation {
        self.made += 1;
        let identifier = RequestIdentifier::from_parts(self.origin, depth, 16, stack);
        Observation {
            handle: Handle::Opaque(self.made),
            place: Place::new(&identifier.expect("a valid stack"), None),
            direction: Direction::Inbound,
            ignored_hop: false,
            one_way: false,
            outcome: Outcome::Ok,
            status: 200,
            service: self.service.clone(),
            host: self.service.clone(),
            action: self.service.clone(),
            peer: None,
            peer_host: None,
            generated: None,
            at: Timestamp(i64::from(depth)),
            head_ns: None,
            duration_ns: Some(5),
            work: None,
            error: None,
            details: None,
        }
    }
}

#[test]
fn a_chain_ten_thousand_deep_builds_and_prints() {
    let mut maker = Maker::new();
    let mut builder = TreeBuilder::new(maker.origin);
    // Nine of ten are lost; stacks of sixteen bridge the gaps.
    for depth in (0..10_000usize).rev().filter(|depth| depth % 10 == 0) {
        let from = depth.saturating_sub(15);
        let stack: Vec<StackId> = (from..=depth).map(|at| Maker::id(at, 4)).collect();
        builder.add(maker.entry(depth as u32, &stack));
    }
    let tree = builder.tree();
    assert_eq!(tree.len(), 9_991);
    assert_eq!(tree.tops().len(), 1);
    let deepest = tree.preorder().map(|(indent, _)| indent).max();
    assert_eq!(deepest, Some(9_990));
    assert_eq!(tree.to_json().nodes.len(), 9_991);
    let inferred = tree
        .nodes()
        .filter(|node| node.evidence() == Evidence::Inferred);
    assert_eq!(inferred.count(), 9_991 - 1000);
}

#[test]
fn a_million_nodes_build() {
    let mut maker = Maker::new();
    let entries = (0..1_000_000usize).map(|at| {
        // Each has up to a hundred children.
        let mut path = vec![at];
        while path[path.len() - 1] > 0 {
            path.push((path[path.len() - 1] - 1) / 100);
        }
        let stack: Vec<StackId> = path.iter().rev().map(|&at| Maker::id(at, 8)).collect();
        maker.entry(stack.len() as u32 - 1, &stack)
    });
    let entries: Vec<Observation> = entries.collect();
    let origin = maker.origin;
    with_small_stack(move || {
        let builder = TreeBuilder::batch(origin, entries);
        let tree = builder.tree();
        assert_eq!(tree.len(), 1_000_000);
        assert_eq!(tree.tops().len(), 1);
        assert_eq!(tree.root().map(|root| root.children().len()), Some(100));
        assert_eq!(tree.preorder().count(), 1_000_000);
        assert_eq!(tree.to_json().nodes.len(), 1_000_000);
        assert!(tree.diagnose().sources.is_empty());
    });
}

/// Runs with a stack so small that whatever recurses once a level or a node overflows it.
fn with_small_stack(test: impl FnOnce() + Send + 'static) {
    let thread = std::thread::Builder::new().stack_size(192 << 10);
    thread
        .spawn(test)
        .expect("a thread")
        .join()
        .expect("no failure");
}

#[test]
fn nothing_recurses_in_a_chain_ten_thousand_deep() {
    with_small_stack(|| {
        let mut maker = Maker::new();
        let mut entries = Vec::new();
        for depth in 0..=10_000usize {
            let from = depth.saturating_sub(7);
            let stack: Vec<StackId> = (from..=depth).map(|at| Maker::id(at, 8)).collect();
            for direction in [Direction::Outbound, Direction::Inbound] {
                if depth == 0 && direction == Direction::Outbound {
                    continue;
                }
                // Sent by the service above and received by this one, whose clock is another; each
                // lasts until all below it are done, and all of them failed.
                let service = depth - usize::from(direction == Direction::Outbound);
                let late = usize::from(direction == Direction::Inbound);
                let skew = (service % 50 * 1_000_000) as i64;
                let mut entry = maker.entry(depth as u32, &stack);
                entry.direction = direction;
                entry.host = format!("host-{}", service % 50).into();
                entry.at = Timestamp((depth * 100 + late * 10) as i64 + skew);
                entry.duration_ns = Some(((10_001 - depth) * 200 - late * 20) as u64);
                entry.outcome = Outcome::Error;
                entry.status = 500;
                entries.push(entry);
            }
        }
        let builder = TreeBuilder::batch(maker.origin, entries);
        let tree = builder.tree();
        assert_eq!((tree.len(), tree.tops().len()), (10_001, 1));
        let root = tree.root().expect("a root");
        assert!(root.skew_bound().is_some() && root.service().is_some());
        assert_eq!(
            tree.preorder().map(|(indent, _)| indent).max(),
            Some(10_000)
        );
        let json = serde_json::to_string(&tree.to_json()).expect("json");
        assert!(json.len() > 1_000_000);
        let diagnosis = tree.diagnose();
        let source = &diagnosis.sources[0];
        assert_eq!(tree.node(source.node).level(), 10_000);
        assert_eq!(source.echoes.len(), 10_000);
        assert_eq!(diagnosis.critical_path.len(), 10_001);
        assert!(serde_json::to_string(&diagnosis.to_json(&tree)).is_ok());
    });
}

#[test]
fn many_calls_of_one_id_do_not_take_quadratic_time() {
    let mut maker = Maker::new();
    let mut builder = TreeBuilder::new(maker.origin);
    let own = Maker::id(0, 4);
    // Somebody sends the same id under ever other parents, and deliveries without end.
    for at in 1..20_000 {
        let entry = maker.entry(5, &[Maker::id(at, 4), own]);
        builder.add(entry);
        let entry = maker.entry(9, &[own]);
        builder.add(entry);
    }
    let tree = builder.tree();
    assert_eq!(
        tree.nodes().filter(|node| node.id() == Some(own)).count(),
        19_999 + 1
    );
    let delivered = tree
        .nodes()
        .find(|node| node.level() == 9)
        .map(|node| node.deliveries().len());
    assert_eq!(delivered, Some(19_999));
}
