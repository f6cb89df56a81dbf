//! The monitors of this process: thresholds and transactions.

use std::sync::Arc;

use anyhow::Result;
use selvedge_bus::Bus;
use selvedge_monitor::transaction::{RunningTransactions, TransactionConfig};

use crate::admin::Metrics;
use crate::args::{self, Asking};
use crate::base::Base;
use crate::thresholds::Told;
use crate::thresholds::{self, Thresholds};
use crate::{ask, print, transactions};

mod metrics;

pub(crate) use metrics::MonitorAsker;

/// What a monitor does without configuration.
#[derive(Default)]
pub(crate) struct Defaults {
    pub(crate) transactions: Vec<TransactionConfig>,
    pub(crate) told: Told,
}

/// What watches.
pub(crate) struct Monitors {
    thresholds: Option<Thresholds>,
    transactions: RunningTransactions,
}

impl Monitors {
    /// Starts the configured rules under this name; those of `defaults` where the configuration
    /// has none.
    pub(crate) async fn start(
        base: &Base,
        name: &str,
        defaults: &Defaults,
        bus: Arc<dyn Bus>,
    ) -> Result<Self> {
        let configured = &base.config.transactions;
        let rules = if configured.is_empty() {
            &defaults.transactions
        } else {
            configured
        };
        let data = base.data.join("monitors").join(name);
        Ok(Self {
            thresholds: Thresholds::start(base, name, &defaults.told, bus.clone()).await?,
            transactions: transactions::start(rules, &data, bus).await?,
        })
    }

    /// Shows them on the admin port.
    pub(crate) fn show(&self, metrics: &mut Metrics) {
        metrics.routes(thresholds::routes(self.thresholds.as_ref()));
        metrics.routes(transactions::routes(self.transactions.transactions()));
        metrics.monitors(MonitorAsker {
            thresholds: self.thresholds.as_ref().map(Thresholds::asker),
            transactions: self.transactions.transactions(),
        });
    }

    pub(crate) async fn stop(self) {
        if let Some(thresholds) = self.thresholds {
            thresholds.stop().await;
        }
        self.transactions.stop().await;
    }
}

/// `selvedge thresholds`.
pub(crate) async fn show_thresholds(asking: &Asking) -> Result<()> {
    let list = ask::get(&asking.admin, "/api/v1/thresholds", &[]).await?;
    show(asking, &list, print::monitors::thresholds)
}

/// `selvedge transactions`.
pub(crate) async fn show_transactions(args: &args::Transactions) -> Result<()> {
    let asking = &args.asking;
    let path = "/api/v1/transactions";
    let Some(rule) = &args.rule else {
        let list = ask::get(&asking.admin, path, &[]).await?;
        return show(asking, &list, print::monitors::transactions);
    };
    let rule = ("rule", rule.clone());
    if let Some(position) = &args.retry {
        let query = [rule, ("position", position.clone())];
        let tried = ask::post(&asking.admin, &format!("{path}/retry"), &query).await?;
        show(asking, &tried, print::monitors::tried)?;
        anyhow::ensure!(tried["done"] == true, "it failed again");
        return Ok(());
    }
    let mut query = vec![rule];
    query.extend(args.cursor.iter().map(|cursor| ("cursor", cursor.clone())));
    let list = ask::get(&asking.admin, &format!("{path}/dead"), &query).await?;
    show(asking, &list, print::monitors::letters)
}

fn show(
    asking: &Asking,
    value: &serde_json::Value,
    render: fn(&serde_json::Value) -> String,
) -> Result<()> {
    if asking.json {
        print::json(value)?;
    } else {
        print::text(&render(value))?;
    }
    Ok(())
}
