//! A race's master, asked at its admin port, which may be in another network namespace: `admin`
//! answers with what is under a path there.

use serde_json::Value;

/// Waits until so many sites race: until a clock is known well enough, its site does not.
///
/// # Panics
/// When the port answers anything but the races.
pub fn until_sites_race(sites: usize, admin: impl Fn(&str) -> String) {
    let racing = |replica: &&Value| replica["racing"] == true;
    loop {
        let told: Value = serde_json::from_str(&admin("/api/v1/races?limit=1")).expect("JSON");
        let replicas = told["replicas"].as_array().expect("replicas");
        if replicas.iter().filter(racing).count() == sites {
            return;
        }
    }
}

/// A counter of the name server's.
///
/// # Panics
/// When there is none of that name.
pub fn dns_counter(name: &str, admin: impl Fn(&str) -> String) -> u64 {
    let metrics = admin("/metrics");
    let name = format!("selvedge_dns_{name}_total ");
    let line = metrics.lines().find_map(|line| line.strip_prefix(&name));
    line.and_then(|value| value.parse().ok())
        .expect("a counter")
}
