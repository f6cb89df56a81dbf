//! Each entry has its effect once, however often it is delivered; what fails is kept.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use selvedge_bus::testing::MemoryJournal;
use selvedge_bus::{Bus, Hub, HubOptions};
use selvedge_monitor::transaction::{
    RunningTransactions, Transaction, TransactionConfig, Transactions, Tried,
};

use crate::whole;

fn config() -> TransactionConfig {
    TransactionConfig {
        name: "orders".to_owned(),
        filter: "has attribute.choice".to_owned(),
        database: None,
        setup: "CREATE TABLE IF NOT EXISTS stock (item TEXT PRIMARY KEY, left INTEGER CHECK (left >= 0));
                CREATE TABLE IF NOT EXISTS shipped (position TEXT, item TEXT);
                INSERT OR IGNORE INTO stock VALUES ('cup', 1000), ('rare', 1);"
            .to_owned(),
        run: "UPDATE stock SET left = left - 1 WHERE item = :item;
              INSERT INTO shipped VALUES (:position, :item);"
            .to_owned(),
        bind: [("item".to_owned(), "attribute.choice".to_owned())].into(),
    }
}

async fn start(data: &Path, bus: &Arc<dyn Bus>) -> RunningTransactions {
    let rule = Transaction::new(config()).unwrap();
    RunningTransactions::start(vec![rule], data, bus.clone())
        .await
        .unwrap()
}

/// Waits until so many are done or dead.
async fn until(transactions: &Transactions, settled: u64) -> (u64, u64) {
    loop {
        let (_, done, dead) = transactions.counts().unwrap().remove(0);
        if done + dead >= settled {
            return (done, dead);
        }
        tokio::task::yield_now().await;
    }
}

fn shipped(data: &Path, item: &str) -> (u64, u64) {
    let database = rusqlite::Connection::open(data.join("orders.db")).unwrap();
    let sql = "SELECT count(*), count(DISTINCT position) FROM shipped WHERE item = ?1";
    let counts = database.query_row(sql, [item], |row| {
        Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?))
    });
    let (all, different) = counts.unwrap();
    (all as u64, different as u64)
}

#[tokio::test(flavor = "multi_thread")]
async fn each_entry_has_its_effect_once_over_restarts_and_a_lost_place() {
    let data = tempfile::tempdir().unwrap();
    let bus: Arc<dyn Bus> = Arc::new(Hub::new(HubOptions::default()));
    let journal = Arc::new(MemoryJournal::new("content-1"));
    let publisher = bus.join(journal.clone()).await.unwrap();
    for restart in 0..20 {
        let batch: Vec<Bytes> = (0..10).map(|_| whole("cup")).collect();
        publisher.announce(journal.append(batch)).await.unwrap();
        let running = start(data.path(), &bus).await;
        if restart % 3 > 0 {
            until(&running.transactions(), restart * 10).await;
        }
        if restart % 4 == 0 {
            running.stop().await;
            // Whoever loses the place is delivered everything again.
            let database = rusqlite::Connection::open(data.path().join("orders.db")).unwrap();
            database.execute("DELETE FROM selvedge_place", []).unwrap();
        }
    }
    let running = start(data.path(), &bus).await;
    assert_eq!(until(&running.transactions(), 200).await, (200, 0));
    running.stop().await;
    assert_eq!(shipped(data.path(), "cup"), (200, 200));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_database_refuses_is_a_dead_letter_and_can_be_tried_again() {
    let data = tempfile::tempdir().unwrap();
    let bus: Arc<dyn Bus> = Arc::new(Hub::new(HubOptions::default()));
    let journal = Arc::new(MemoryJournal::new("content-1"));
    let publisher = bus.join(journal.clone()).await.unwrap();
    let batch = journal.append(["rare", "rare", "cup"].map(whole));
    publisher.announce(batch).await.unwrap();
    let running = start(data.path(), &bus).await;
    let transactions = running.transactions();
    assert_eq!(until(&transactions, 3).await, (2, 1));
    let letters = transactions.dead("orders", "").unwrap().unwrap();
    assert_eq!(letters.len(), 1);
    assert!(
        letters[0].reason.contains("CHECK constraint failed"),
        "{}",
        letters[0].reason
    );
    assert_eq!(letters[0].values["item"], "rare");
    // Nothing of what failed has stayed.
    assert_eq!(shipped(data.path(), "rare"), (1, 1));

    let position = &letters[0].position;
    assert!(matches!(
        transactions.retry("orders", position).unwrap(),
        Tried::Dead(_)
    ));
    assert_eq!(
        transactions.dead("orders", "").unwrap().unwrap()[0].tries,
        2
    );
    let database = rusqlite::Connection::open(data.path().join("orders.db")).unwrap();
    database
        .execute("UPDATE stock SET left = 5 WHERE item = 'rare'", [])
        .unwrap();
    assert_eq!(transactions.retry("orders", position).unwrap(), Tried::Done);
    assert_eq!(
        transactions.retry("orders", position).unwrap(),
        Tried::Unknown
    );
    assert_eq!(shipped(data.path(), "rare"), (2, 2));
    assert_eq!(
        transactions.counts().unwrap(),
        [("orders".to_owned(), 3, 0)]
    );
    assert_eq!(transactions.dead("none", "").unwrap(), None);
    running.stop().await;
}

#[tokio::test]
async fn a_rule_that_cannot_work_is_refused_with_its_reason() {
    let data = tempfile::tempdir().unwrap();
    let bus: Arc<dyn Bus> = Arc::new(Hub::new(HubOptions::default()));
    for (run, reason) in [
        ("INSERT INTO nowhere VALUES (1)", "no such table: nowhere"),
        ("UPDATE stock SET", "incomplete input"),
        (
            "UPDATE stock SET left = :amount",
            ":amount: write it into bind",
        ),
        (
            "COMMIT; DELETE FROM stock",
            "COMMIT: the transaction is begun and ended for you",
        ),
    ] {
        let rule = TransactionConfig {
            run: run.to_owned(),
            ..config()
        };
        let rule = Transaction::new(rule).unwrap();
        let error = RunningTransactions::start(vec![rule], data.path(), bus.clone())
            .await
            .unwrap_err()
            .to_string();
        assert!(error.contains(reason), "{run}: {error}");
    }
    for (change, reason) in [
        (
            TransactionConfig {
                run: " ".to_owned(),
                ..config()
            },
            "orders: run: write the statements",
        ),
        (
            TransactionConfig {
                filter: "x".to_owned(),
                ..config()
            },
            "orders: filter: filter, at byte 0",
        ),
        (
            TransactionConfig {
                bind: [("a".to_owned(), "b".to_owned())].into(),
                ..config()
            },
            "orders: bind: no field b",
        ),
    ] {
        let error = Transaction::new(change).unwrap_err().to_string();
        assert!(error.contains(reason), "{error}");
    }
}
