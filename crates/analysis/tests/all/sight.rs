//! What a consumer sees of trees (D14).

use std::collections::BTreeSet;

use fastrand::Rng;
use selvedge_analysis::{Request, charges, visible};
use selvedge_calltree::TreeJson;
use selvedge_entry::Text;
use selvedge_identity::Consumer;

use crate::world::{World, client, with_request};

fn each(world: &World, mut take: impl FnMut(&Request<'_>)) {
    for (origin, entries) in &world.left() {
        with_request(*origin, entries, &mut take);
    }
}

fn is_stripped(tree: &TreeJson<'_>) -> bool {
    let text = serde_json::to_string(tree).expect("JSON");
    let told = ["secret", "it broke", "10.0.0.1", "server-", "odd"];
    !told.iter().any(|told| text.contains(told))
}

#[test]
fn a_client_sees_its_own_requests_whole_and_no_other() {
    let world = World::new(5, 40, 8, 1);
    let mine = client(1);
    let (mut seen, mut others) = (0, 0);
    each(&world, |request| {
        let tree = visible(request, &Consumer::Client(mine));
        if request.client != Some(mine) {
            others += 1;
            assert_eq!(tree, None);
            return;
        }
        seen += 1;
        let tree = tree.expect("its own");
        assert_eq!(tree.nodes.len(), request.tree.len());
        assert!(is_stripped(&tree), "{tree:#?}");
    });
    assert!(seen > 0 && others > 0);
}

#[test]
fn a_service_sees_what_it_called_and_handled_and_no_more() {
    let mut world = World::new(6, 60, 8, 1);
    world.lose(&mut Rng::with_seed(2), 20);
    let own: Text = "service-1".into();
    let consumer = Consumer::Service(own.clone());
    let mut trees = 0;
    each(&world, |request| {
        let charged: u64 = charges(request)
            .iter()
            .filter(|((by, _), _)| *by == consumer)
            .map(|(_, totals)| totals.calls)
            .sum();
        let Some(tree) = visible(request, &consumer) else {
            assert_eq!(charged, 0);
            return;
        };
        trees += 1;
        assert!(is_stripped(&tree), "{tree:#?}");
        let ids: BTreeSet<&str> = tree.nodes.iter().map(|node| &*node.id).collect();
        let whole = request.tree.to_json();
        let mut called = 0;
        for node in &tree.nodes {
            let real = whole
                .nodes
                .iter()
                .find(|real| real.id == node.id)
                .expect("in the tree");
            let above = real.parent.as_ref();
            let above = above.and_then(|above| whole.nodes.iter().find(|node| node.id == *above));
            let by_own = above.is_some_and(|above| above.service.as_deref() == Some(&*own));
            called += u64::from(by_own);
            assert!(by_own || real.parent.is_none() || real.service.as_deref() == Some(&*own));
            let named = node
                .parent
                .iter()
                .chain(&node.children)
                .chain(&node.candidates);
            assert!(named.into_iter().all(|id| ids.contains(&**id)));
        }
        assert!(called <= charged);
    });
    assert!(trees > 0);
}

#[test]
fn nobody_sees_requests_for_being_unknown() {
    let world = World::new(5, 20, 4, 1);
    each(&world, |request| {
        assert_eq!(visible(request, &Consumer::Unknown), None);
    });
}
