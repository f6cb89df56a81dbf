//! Services that write identifiers of different sizes in one fleet, and depths of the fleet's own
//! (D2, D3, D4).

use crate::external::{Fleet, assert_chain};

/// The parts of a native identifier: widths, k, depth, origin, stack.
fn parts(said: &serde_json::Value) -> Vec<String> {
    let text = said["received"]["selvedge-request"].as_str();
    let text = text.expect("an identifier");
    text.split('.').skip(1).map(str::to_owned).collect()
}

#[tokio::test]
async fn services_of_different_stacks_and_widths_make_one_right_tree() {
    let fleet = Fleet::start(
        "[identifier]\nstack = 5\nid_bytes = 3\n\
         [identifier.services.front]\nstack = 2\nid_bytes = 8\n\
         [identifier.services.middle]\nstack = 16\nid_bytes = 1\n\
         [identifier.services.back]\nstack = 2\nid_bytes = 4\ncorrect = true\n",
    );
    let [front, middle, back, last] =
        ["front", "middle", "back", "last"].map(|name| fleet.service(name, "native"));
    let url = front.hop();
    fleet.behind_the_gateway(url["to"].as_str().expect("a URL"));
    let plan = [
        middle.hop_from(&front),
        back.hop_from(&middle),
        last.hop_from(&back),
    ];
    let (said, origin) = fleet.ask(&plan).await;
    let tree = fleet.query().tree(&origin, 5).await;
    assert_chain(&tree, &["gateway", "front", "middle", "back", "last"]);

    // What each received is of its caller's size: k, and the width of the newest id.
    let mut hop = &said;
    for (k, width) in [("5", "3"), ("2", "8"), ("16", "1"), ("2", "4")] {
        let parts = parts(hop);
        assert_eq!(parts[1], k, "{said:#}");
        assert!(parts[0].ends_with(width), "{said:#}");
        hop = &hop["next"];
    }
}

#[tokio::test]
async fn depths_out_of_a_table_stand_in_the_identifiers_and_levels_in_the_tree() {
    let fleet = Fleet::start("[identifier]\nlevels = [20, 9, 4]\n");
    let [front, middle, back] =
        ["front", "middle", "back"].map(|name| fleet.service(name, "native"));
    let url = front.hop();
    fleet.behind_the_gateway(url["to"].as_str().expect("a URL"));
    let plan = [middle.hop_from(&front), back.hop_from(&middle)];
    let (said, origin) = fleet.ask(&plan).await;
    let tree = fleet.query().tree(&origin, 4).await;
    assert_chain(&tree, &["gateway", "front", "middle", "back"]);
    // 9, 4, and beyond the table's end 21, in base64 digits.
    let depths = [&said, &said["next"], &said["next"]["next"]].map(|hop| parts(hop)[2].clone());
    assert_eq!(depths, ["J", "E", "V"], "{said:#}");
}
