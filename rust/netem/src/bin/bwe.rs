//! `bwe [--seeds N]`: the test cases of RFC 8867 as a table (lines that begin with `#`) and as figures, one a line:
//! `figure NAME UNIT AIM SAMPLE...`, where AIM is `-`, `<=X` or `>=X` for the median, or `>>X` for every sample, and the
//! samples are those of the seeds.

use std::collections::BTreeMap;

use mediaserver_netem::eval::case::SourceKind;
use mediaserver_netem::eval::score::{Score, score};
use mediaserver_netem::eval::{Case, rfc8867, run};
use mediaserver_netem::{Loss, QueueLimit};

/// A figure of a case: its name, its unit, its aim, and how it is read.
type Column = (&'static str, &'static str, fn(&Case) -> String, fn(&Score) -> Option<f64>);

const ELASTIC: [Column; 8] = [
    ("utilisation", "share", |case| aim(case, ">=0.85"), |score| Some(score.utilisation)),
    ("queue_p95", "ms", |case| aim(case, "<=100"), |score| Some(score.queue_p95_ms)),
    ("loss", "%", |case| aim(case, "<=2"), |score| Some(100.0 * score.loss)),
    ("recovery_down", "s", |case| aim(case, "<=2"), |score| score.down_s),
    ("recovery_up", "s", |case| aim(case, "<=10"), |score| score.up_s),
    ("fairness", "Jain", |case| aim(case, ">=0.9"), |score| score.fairness),
    ("tcp_share", "of_fair", |_| "-".to_owned(), |score| score.tcp_share.map(|(mean, _)| mean)),
    ("tcp_share_least", "of_fair", |_| ">>0.25".to_owned(), |score| score.tcp_share.map(|(_, least)| least)),
];

const LAYERS: [Column; 7] = [
    ("queue_p95", "ms", |_| "-".to_owned(), |score| Some(score.queue_p95_ms)),
    ("loss", "%", |_| "-".to_owned(), |score| Some(100.0 * score.loss)),
    ("on_highest", "share", |_| "-".to_owned(), |score| score.layers.map(|layers| layers.on_highest)),
    ("switches", "per_min", |_| "-".to_owned(), |score| score.layers.map(|layers| layers.switches_per_minute)),
    ("up_downs", "in_10_s", |_| "<=1".to_owned(), |score| score.layers.map(|layers| layers.up_downs as f64)),
    ("frozen", "ms", |_| "-".to_owned(), |score| score.layers.map(|layers| layers.frozen_ms.0 as f64)),
    ("frozen_longest", "ms", |_| "-".to_owned(), |score| score.layers.map(|layers| layers.frozen_ms.1 as f64)),
];

/// The aims are for the cases 5.1 to 5.5 and 5.8.
fn aim(case: &Case, aim: &str) -> String {
    let aimed = case.name.starts_with("5_") && case.tcp.is_empty();
    if aimed { aim.to_owned() } else { "-".to_owned() }
}

fn cases(source: SourceKind) -> Vec<Case> {
    let mut cases = rfc8867::all(source);
    cases.push(rfc8867::lossy(source, "loss_5", Loss::Random(0.05)));
    cases.push(rfc8867::lossy(source, "loss_10", Loss::Random(0.1)));
    cases.push(rfc8867::lossy(source, "loss_5_bursts", Loss::Burst { enter: 0.0132, leave: 0.25 }));
    cases.push(rfc8867::limited_for_a_while(source));
    cases
}

fn print(title: &str, prefix: &str, source: SourceKind, columns: &[Column], seeds: u64) {
    println!("# {title}; median of {seeds} seeds, tcp_share_least the worst of them, ! marks a missed aim");
    let head: Vec<_> = columns.iter().map(|(name, unit, ..)| format!("{name} ({unit})")).collect();
    println!("# | case | {} |", head.join(" | "));
    println!("# |---|{}", "---|".repeat(columns.len()));
    let mut lines = Vec::new();
    for case in cases(source) {
        let scores: Vec<_> = (1..=seeds).map(|seed| repeated(&case.clone().seeded(seed))).collect();
        let cells = columns.iter().map(|(name, unit, aim, read)| {
            let samples: Vec<f64> = scores.iter().filter_map(read).collect();
            if samples.is_empty() {
                return String::new();
            }
            let aim = aim(&case);
            let shown: Vec<_> = samples.iter().map(|sample| format!("{sample:.4}")).collect();
            lines.push(format!("figure {prefix}_{}_{name} {unit} {aim} {}", case.name, shown.join(" ")));
            let worst = samples.iter().copied().fold(f64::INFINITY, f64::min);
            let middle = if aim.starts_with(">>") { worst } else { median(samples) };
            format!("{middle:.2}{}", if missed(middle, &aim) { " !" } else { "" })
        });
        let cells: Vec<_> = cells.collect();
        println!("# | {} {} ({}) | {} |", case.name, case.title, line(&case), cells.join(" | "));
    }
    println!("{}", lines.join("\n"));
}

/// The queue before the line and the round trips over it, without jitter.
fn line(case: &Case) -> String {
    let queue = match case.lines[0].queue {
        QueueLimit::Time(time) => format!("{} ms", time.as_millis()),
        QueueLimit::Bytes(bytes) => format!("{bytes} bytes"),
    };
    let both = case.lines[0].delay + case.lines[1].delay;
    let trips = case.media.iter().map(|flow| both.as_millis() as u64 + 2 * flow.extra_ms);
    let (least, most) = trips.fold((u64::MAX, 0), |(least, most), trip| (least.min(trip), most.max(trip)));
    let trips = if least == most { format!("{least}") } else { format!("{least} to {most}") };
    format!("queue {queue}, round trip {trips} ms")
}

/// Runs a case twice: virtual time and seeds leave no room for chance, so both must be the same.
fn repeated(case: &Case) -> Score {
    let (first, second) = (run(case), run(case));
    assert!(first == second, "{} does not repeat itself", case.name);
    score(case, &first, case.media[0].source == SourceKind::Layers)
}

fn median(mut samples: Vec<f64>) -> f64 {
    samples.sort_by(f64::total_cmp);
    let middle = samples.len() / 2;
    if samples.len() % 2 == 1 { samples[middle] } else { (samples[middle - 1] + samples[middle]) / 2.0 }
}

fn missed(value: f64, aim: &str) -> bool {
    let bound = |text: &str| text.parse::<f64>().unwrap_or(f64::NAN);
    match aim.split_at_checked(2) {
        Some((">=" | ">>", least)) => value < bound(least),
        Some(("<=", most)) => value > bound(most),
        _ => false,
    }
}

/// More seeds than those of the table; what they show beside TCP is printed on its own.
const MORE: std::ops::RangeInclusive<u64> = 31..=60;
/// What no ten seconds of a flow may fall below, as a share of what would be fair.
const LEAST: f64 = 0.25;

fn print_more() {
    println!("# beside TCP on more seeds ({} to {}): tcp_share_least, elastic source", MORE.start(), MORE.end());
    println!("# | case | worst | tenth worst | median | seeds below {LEAST} |");
    println!("# |---|---|---|---|---|");
    let mut lines = Vec::new();
    for case in cases(SourceKind::Elastic).iter().filter(|case| !case.tcp.is_empty()) {
        let least = |seed: u64| repeated(&case.clone().seeded(seed)).tcp_share.map(|(_, least)| least);
        let mut samples: Vec<f64> = MORE.filter_map(least).collect();
        samples.sort_by(f64::total_cmp);
        let below = samples.iter().filter(|&&share| share < LEAST).count();
        let (worst, tenth) = (samples[0], samples[samples.len() / 10]);
        println!(
            "# | {} {} ({}) | {worst:.2} | {tenth:.2} | {:.2} | {below} of {} |",
            case.name,
            case.title,
            line(case),
            median(samples.clone()),
            samples.len()
        );
        lines.push(format!("figure bwe_more_{}_below_a_quarter seeds - {below}", case.name));
        lines.push(format!("figure bwe_more_{}_worst of_fair - {worst:.4}", case.name));
    }
    println!("{}", lines.join("\n"));
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let options: BTreeMap<_, _> = arguments.windows(2).map(|pair| (pair[0].as_str(), pair[1].as_str())).collect();
    let seeds = options.get("--seeds").and_then(|count| count.parse().ok()).unwrap_or(5);
    print("elastic source", "bwe", SourceKind::Elastic, &ELASTIC, seeds);
    print("three simulcast layers", "bwe_layers", SourceKind::Layers, &LAYERS, seeds);
    print_more();
}
