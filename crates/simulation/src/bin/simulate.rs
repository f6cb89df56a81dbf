//! Runs seeds: `cargo xtask simulate`.

use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use selvedge_simulation::{Counts, Options, Plant, simulate};

const USAGE: &str = "\
usage: cargo xtask simulate [--seed S [-v] | --seeds N | --minutes M] [--from S] [--plant BUG]
  --seed S      replay one seed; -v prints what happens in it
  --seeds N     run N seeds (default 100)
  --minutes M   run seeds for M minutes
  --from S      begin at this seed instead of one drawn from the clock
  --plant BUG   put a bug in: ack-before-sync, lost-delivery, dropped-token, lost-at-repository,
                forgotten-effects, lying-disk
exit 0 if every invariant held, 1 if not, 2 for wrong use";

struct Asked {
    seed: Option<u64>,
    from: Option<u64>,
    seeds: Option<u64>,
    minutes: Option<u64>,
    verbose: bool,
    plant: (&'static str, Plant),
}

fn main() -> ExitCode {
    let asked = match parse(std::env::args().skip(1)) {
        Ok(Some(asked)) => asked,
        Ok(None) => {
            println!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        Err(reason) => {
            eprintln!("{reason}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let options = Options {
        trace: asked.verbose,
        plant: asked.plant.1,
    };
    if let Some(seed) = asked.seed {
        return match one(seed, options, asked.plant.0) {
            Some(counts) => {
                println!("seed {seed}: every invariant held; {}", told(&counts));
                ExitCode::SUCCESS
            }
            None => ExitCode::from(1),
        };
    }
    many(&asked, options)
}

/// Runs one seed and prints what broke; `None` if something did.
fn one(seed: u64, options: Options, plant: &str) -> Option<Counts> {
    let outcome = simulate(seed, options);
    for line in &outcome.trace {
        println!("{line}");
    }
    if options.trace {
        println!("{} events, hash {:016x}", outcome.events, outcome.hash);
    }
    if outcome.violations.is_empty() {
        return Some(outcome.counts);
    }
    for violation in &outcome.violations {
        eprintln!("seed {seed}: {violation}");
    }
    let plant = match plant {
        "" => String::new(),
        plant => format!(" --plant {plant}"),
    };
    eprintln!("replay: cargo xtask simulate --seed {seed}{plant} -v");
    None
}

fn many(asked: &Asked, options: Options) -> ExitCode {
    let first = asked.from.unwrap_or_else(|| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        now.map_or(0, |now| now.as_millis() as u64 % 1_000_000_000)
    });
    println!("seeds from {first}");
    let began = Instant::now();
    let until = asked
        .minutes
        .map(|minutes| Duration::from_secs(minutes * 60));
    let limit = match until {
        Some(_) => u64::MAX,
        None => asked.seeds.unwrap_or(100),
    };
    let mut sum = Counts::default();
    let mut seeds = 0;
    while seeds < limit && until.is_none_or(|until| began.elapsed() < until) {
        let Some(counts) = one(first.wrapping_add(seeds), options, asked.plant.0) else {
            return ExitCode::from(1);
        };
        sum += counts;
        seeds += 1;
    }
    println!(
        "{seeds} seeds in {:.1} s: every invariant held; {}",
        began.elapsed().as_secs_f64(),
        told(&sum)
    );
    ExitCode::SUCCESS
}

fn told(counts: &Counts) -> String {
    let Counts {
        requests,
        answers,
        faults,
        promises,
        volatile,
        pairs,
        unproven_lossy,
        unheld,
        spread,
        orders,
        crossings,
        virtual_ms,
    } = counts;
    format!(
        "{requests} requests ({answers} answered), {faults} faults, {promises} promises \
         ({volatile} volatile), {pairs} pairs compared (unproven: {unproven_lossy}, whose entries a crash took), \
         {unheld} heads not held, {spread} answers held by peers, \
         {orders} orders, {crossings} crossings, {:.1} s of the fleet's time",
        *virtual_ms as f64 / 1000.0
    )
}

fn parse(mut args: impl Iterator<Item = String>) -> Result<Option<Asked>, String> {
    let mut asked = Asked {
        seed: None,
        from: None,
        seeds: None,
        minutes: None,
        verbose: false,
        plant: ("", Plant::None),
    };
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or(format!("{arg} needs a value"));
        let number = |text: String| {
            text.parse::<u64>()
                .map_err(|_| format!("{text} is no number"))
        };
        match arg.as_str() {
            "--seed" => asked.seed = Some(number(value()?)?),
            "--from" => asked.from = Some(number(value()?)?),
            "--seeds" => asked.seeds = Some(number(value()?)?),
            "--minutes" => asked.minutes = Some(number(value()?)?),
            "-v" | "--verbose" => asked.verbose = true,
            "--plant" => {
                let name = value()?;
                let known = Plant::NAMED.into_iter().find(|(known, _)| *known == name);
                asked.plant = known.ok_or(format!("no planted bug is called {name}"))?;
            }
            "-h" | "--help" => return Ok(None),
            _ => return Err(format!("unknown argument {arg}")),
        }
    }
    Ok(Some(asked))
}
