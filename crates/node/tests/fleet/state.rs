//! A session's state on several servers (B2, E6).

use selvedge_node::{Exchange, STATE_SESSION_BYTES_MAX, STATE_VALUE_BYTES_MAX, StateError};

use super::*;

type Cart = Vec<String>;

/// One request with these tokens that puts an item into the cart it finds; returns the token.
async fn put(node: &Node, tokens: &[&str], item: &str) -> String {
    let exchange = node.take(inbound(tokens)).await;
    add(&exchange, item);
    end(&exchange).await
}

fn add(exchange: &Exchange, item: &str) {
    let cart = exchange.state::<Cart>("cart");
    let mut items = cart.get().expect("readable").unwrap_or_default();
    items.push(item.to_owned());
    cart.set(&items).expect("written");
}

async fn end(exchange: &Exchange) -> String {
    let answer = exchange.answer(200).await;
    exchange.close(End::status(200));
    answer.session.expect("the session moved on")
}

/// The cart as a request with these tokens finds it.
async fn cart(node: &Node, tokens: &[&str]) -> Option<Cart> {
    let exchange = node.take(inbound(tokens)).await;
    exchange.state::<Cart>("cart").get().expect("readable")
}

async fn carts(node: &Node, tokens: &[&str]) -> Vec<Cart> {
    let exchange = node.take(inbound(tokens)).await;
    let candidates = exchange.state::<Cart>("cart").candidates();
    let values = candidates.expect("readable").into_iter();
    values.map(|one| one.value.expect("not cleared")).collect()
}

#[tokio::test]
async fn what_one_server_wrote_the_next_reads_and_replaces_however_slow_the_network() {
    let fleet = Fleet::delayed(Duration::from_millis(20));
    let (a, b, c) = (
        fleet.start("a").await,
        fleet.start("b").await,
        fleet.start("c").await,
    );
    let mut token = fleet.fresh_token();
    for (node, item) in [(&a, "tea"), (&b, "milk"), (&c, "cups"), (&a, "spoons")] {
        token = put(node, &[&token], item).await;
    }
    for node in [&a, &b, &c] {
        let all = carts(node, &[&token]).await;
        assert_eq!(all, [["tea", "milk", "cups", "spoons"]], "no conflict");
    }
}

#[tokio::test]
async fn writes_that_did_not_know_of_each_other_are_both_kept_until_one_follows_both() {
    let fleet = Fleet::new();
    let (a, b) = (fleet.start("a").await, fleet.start("b").await);
    let first = put(&a, &[&fleet.fresh_token()], "tea").await;
    let (left, right) = (
        a.take(inbound(&[&first])).await,
        b.take(inbound(&[&first])).await,
    );
    add(&left, "milk");
    add(&right, "cups");
    let (left, right) = (end(&left).await, end(&right).await);
    for node in [&a, &b] {
        // Of the same counter; the greater server's is shown.
        let both = carts(node, &[&left, &right]).await;
        assert_eq!(both, [["tea", "cups"], ["tea", "milk"]]);
    }
    let joined = put(&a, &[&left, &right], "spoons").await;
    for node in [&a, &b] {
        let one = carts(node, &[&joined]).await;
        assert_eq!(one, [["tea", "cups", "spoons"]]);
    }
}

#[tokio::test]
async fn a_restarted_server_has_it_from_its_journal_and_from_its_peers() {
    let fleet = Fleet::new();
    let (a, b) = (fleet.start("a").await, fleet.start("b").await);
    let first = put(&a, &[&fleet.fresh_token()], "tea").await;
    let second = put(&b, &[&first], "milk").await;
    a.stop().await;
    drop(a);
    let a = fleet.start("a").await;
    assert_eq!(
        cart(&a, &[&second]).await,
        Some(vec!["tea".into(), "milk".into()])
    );
}

#[tokio::test]
async fn a_request_reads_what_it_wrote_itself_and_a_value_can_be_cleared() {
    let fleet = Fleet::new();
    let a = fleet.start("a").await;
    let first = put(&a, &[&fleet.fresh_token()], "tea").await;
    let exchange = a.take(inbound(&[&first])).await;
    add(&exchange, "milk");
    add(&exchange, "cups");
    let cart_state = exchange.state::<Cart>("cart");
    let mine = cart_state.candidates().expect("readable");
    assert_eq!(mine.len(), 1);
    assert_eq!(
        mine[0].value.as_deref(),
        Some(&["tea", "milk", "cups"].map(String::from)[..])
    );
    assert_eq!(mine[0].ordering.counter, 2);
    let second = end(&exchange).await;
    assert_eq!(cart(&a, &[&second]).await.map(|cart| cart.len()), Some(3));

    let exchange = a.take(inbound(&[&second])).await;
    exchange.state::<Cart>("cart").clear().expect("cleared");
    assert_eq!(
        exchange.state::<Cart>("cart").get().expect("readable"),
        None
    );
    let third = end(&exchange).await;
    assert_eq!(cart(&a, &[&third]).await, None);
}

#[tokio::test]
async fn a_write_after_other_actions_of_the_request_is_an_action_that_follows_them() {
    let fleet = Fleet::new();
    let (a, b) = (fleet.start("a").await, fleet.start("b").await);
    let exchange = a.take(inbound(&[&fleet.fresh_token()])).await;
    add(&exchange, "tea");
    exchange.action("pack").finish();
    add(&exchange, "milk");
    add(&exchange, "cups");
    let token = end(&exchange).await;
    let history = seen(&b, &token).await;
    let names: Vec<&str> = history.iter().map(|e| &*e.opening.action).collect();
    assert_eq!(names, ["GET /orders", "pack", "set cart", "set cart"]);
    assert_eq!(carts(&b, &[&token]).await, [["tea", "milk", "cups"]]);
}

#[tokio::test]
async fn a_deeper_server_writes_by_an_action_of_its_own() {
    let fleet = Fleet::new();
    let (front, deep) = (fleet.start("front").await, fleet.start("deep").await);
    let first = put(&front, &[&fleet.fresh_token()], "tea").await;
    let exchange = front.take(inbound(&[&first])).await;
    let call = exchange.call(Some("cart"), None, "POST", "/add");
    let carried = call.headers(true).carried.expect("there is a session");
    let deeper = Inbound {
        carried: Some(carried.as_bytes()),
        ..inbound(&[])
    };
    // It began at once.
    let inner = deep.take(deeper).await;
    assert!(inner.catch_up().await);
    add(&inner, "milk");
    call.answered(end(&inner).await.as_bytes());
    call.close(End::status(200));
    assert!(exchange.catch_up().await);
    add(&exchange, "cups");
    let token = end(&exchange).await;
    assert_eq!(carts(&front, &[&token]).await, [["tea", "milk", "cups"]]);
}

#[tokio::test]
async fn what_is_too_much_is_refused_with_its_bound_and_writes_nothing() {
    let fleet = Fleet::new();
    let a = fleet.start("a").await;
    let mut token = fleet.fresh_token();
    let exchange = a.take(inbound(&[&token])).await;
    let state = |name: &str| exchange.state::<String>(name);
    let long = "x".repeat(STATE_VALUE_BYTES_MAX);
    let said = state("cart").set(&long).expect_err("too long").to_string();
    assert!(
        said.contains("16386 bytes") && said.contains("16384"),
        "{said}"
    );
    for name in ["", "a b", "../x", &"x".repeat(65)] {
        let refused = state(name).set(&"v".to_owned());
        assert!(matches!(refused, Err(StateError::Name(_))), "{name}");
    }
    assert!(exchange.state_names().is_empty());
    token = end(&exchange).await;
    let late = exchange.state::<String>("cart").set(&"v".to_owned());
    assert!(matches!(late, Err(StateError::Ended)));

    let value = "x".repeat(STATE_VALUE_BYTES_MAX - 2);
    for name in ["a", "b", "c", "d"] {
        let exchange = a.take(inbound(&[&token])).await;
        exchange.state(name).set(&value).expect("room");
        token = end(&exchange).await;
    }
    let exchange = a.take(inbound(&[&token])).await;
    let full = exchange.state("e").set(&value);
    assert!(
        matches!(full, Err(StateError::Full)),
        "{STATE_SESSION_BYTES_MAX}"
    );
    exchange
        .state("a")
        .set(&value)
        .expect("in place of its own");
    assert_eq!(exchange.state_names().len(), 4);

    let stranger = a.take(inbound(&[])).await;
    let refused = stranger.state::<String>("cart").get();
    assert!(matches!(refused, Err(StateError::NoSession)));
}

#[tokio::test]
async fn a_value_of_another_type_is_an_error_that_names_it() {
    let fleet = Fleet::new();
    let a = fleet.start("a").await;
    let token = put(&a, &[&fleet.fresh_token()], "tea").await;
    let exchange = a.take(inbound(&[&token])).await;
    let said = exchange.state::<u64>("cart").get().expect_err("a list");
    assert!(said.to_string().contains("\"cart\""), "{said}");
}

#[tokio::test]
async fn entries_show_state_only_where_it_is_kept_and_holds_nothing_to_redact() {
    let fleet = Fleet::new();
    let mut options = fleet.options("open");
    options.keep.state = true;
    options.keep.redact = vec!["card".to_owned()];
    let (closed, open) = (fleet.start("closed").await, fleet.start_with(options).await);
    let token = put(&closed, &[&fleet.fresh_token()], "tea").await;
    let exchange = open.take(inbound(&[&token])).await;
    add(&exchange, "milk");
    let payment = serde_json::json!({"pay": {"card": "4111"}});
    exchange.state("payment").set(&payment).expect("written");
    let token = end(&exchange).await;
    let shown: Vec<_> = seen(&closed, &token)
        .await
        .iter()
        .flat_map(|entry| {
            entry.to_json()["state"]
                .as_array()
                .cloned()
                .expect("a list")
        })
        .map(|state| (state["name"].clone(), state["value"].clone()))
        .collect();
    let hidden = serde_json::Value::Null;
    assert_eq!(
        shown,
        [
            ("cart".into(), hidden.clone()),
            ("cart".into(), serde_json::json!(["tea", "milk"])),
            ("payment".into(), hidden),
        ]
    );
    let exchange = closed.take(inbound(&[&token])).await;
    let read = exchange.state::<serde_json::Value>("payment").get();
    assert_eq!(
        read.expect("readable"),
        Some(payment),
        "servers read it all the same"
    );
}
