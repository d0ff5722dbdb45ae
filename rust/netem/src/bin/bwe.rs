//! `bwe [elastic|layers] [CASE]`: scratch.
use mediaserver_netem::eval::case::SourceKind;
use mediaserver_netem::eval::{rfc8867, run, score};

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let kind = if args.get(1).is_some_and(|a| a == "layers") { SourceKind::Layers } else { SourceKind::Elastic };
    let filter = args.get(2).cloned().unwrap_or_default();
    let mut cases = rfc8867::all(kind);
    use mediaserver_netem::Loss;
    cases.push(rfc8867::lossy(kind, "loss_5", Loss::Random(0.05)));
    cases.push(rfc8867::lossy(kind, "loss_10", Loss::Random(0.1)));
    cases.push(rfc8867::lossy(kind, "burst_5", Loss::Burst { enter: 0.0132, leave: 0.25 }));
    cases.push(rfc8867::limited_for_a_while(kind));
    for case in cases {
        if !case.name.contains(&filter) {
            continue;
        }
        let case = case.seeded(std::env::var("SEED").map_or(1, |s| s.parse().unwrap()));
        let t = std::time::Instant::now();
        if args.get(3).is_none() {
            let ss: Vec<_> = (1..=6).map(|k| { let c = case.clone().seeded(k); let o = run(&c); score::score(&c, &o, kind == SourceKind::Layers) }).collect();
            let f = |g: &dyn Fn(&score::Score) -> f64| { ss.iter().map(|s| format!("{:.2}", g(s))).collect::<Vec<_>>().join(" ") };
            let q = |g: &dyn Fn(&score::Score) -> f64| { ss.iter().map(|s| format!("{:.0}", g(s))).collect::<Vec<_>>().join(" ") };
            println!("{:14} util {} q95 {} loss% {} down {} up {} fair {} tcp {} least {} {:?}", case.name, f(&|s| s.utilisation), q(&|s| s.queue_p95_ms), f(&|s| s.loss*100.0), f(&|s| s.down_s.unwrap_or(0.0)), f(&|s| s.up_s.unwrap_or(0.0)), f(&|s| s.fairness.unwrap_or(1.0)), f(&|s| s.tcp_share.map_or(1.0, |t| t.0)), f(&|s| s.tcp_share.map_or(1.0, |t| t.1)), ss[0].layers);
            continue;
        }
        let outcome = run(&case);
        let s = score::score(&case, &outcome, kind == SourceKind::Layers);
        println!(
            "{:14} util {:.3} q95 {:6.1} loss {:.4} down {:?} up {:?} fair {:?} tcp {:?} {:?}  [{:?}]",
            case.name, s.utilisation, s.queue_p95_ms, s.loss, s.down_s, s.up_s,
            s.fairness.map(|f| (f * 1000.0).round() / 1000.0),
            s.tcp_share.map(|(a, b)| ((a * 100.0).round(), (b * 100.0).round())), s.layers, t.elapsed()
        );
        if args.get(3).is_some() {
            let n: usize = case.seconds as usize;
            for sec in 0..n {
                print!("{sec:4}");
                for f in outcome.media.iter().chain(&outcome.tcp) {
                    print!("  {:5.0} q{:4.0}", f.bps(sec as f64, sec as f64 + 1.0) / 1e3, f.worst_queue_ms(sec as f64, sec as f64 + 1.0));
                }
                println!();
            }
            println!("{:?}", outcome.lines);
        }
    }
}
