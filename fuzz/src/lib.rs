//! What several fuzz targets check.

use selvedge_calltree::TreeBuilder;
use selvedge_spans::{Intake, observe};

/// Spans that were taken name no zero id and not themselves; every one of them has its place in a
/// tree; and in reverse order they make the same trees.
///
/// # Panics
/// When one of these does not hold.
pub fn check_spans(intake: &Intake) {
    for span in &intake.spans {
        assert_ne!(span.parent, Some(span.id));
    }
    let observed = observe(&intake.spans);
    let mut reversed = intake.spans.clone();
    reversed.reverse();
    assert_eq!(observed.requests, observe(&reversed).requests);
    for (origin, observations) in observed.requests {
        let count = observations.len();
        let builder = TreeBuilder::batch(origin, observations);
        assert_eq!((builder.len(), builder.refused()), (count, 0));
        let tree = builder.tree();
        assert!(serde_json::to_vec(&tree.to_json()).is_ok());
    }
}
