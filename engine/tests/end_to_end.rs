//! Whole points on real threads.
use quorumbench::drive;
use quorumbench::spec::Spec;
use std::sync::atomic::AtomicBool;

#[test]
fn probe() {
    let text = std::env::var("TEXT").unwrap_or_default();
    let spec = Spec::parse(&format!("name=\"x\"\n{text}"), "x", &[]).unwrap();
    for point in spec.points() {
        let o = drive::measure(&point, spec.run(), 1, &[], &AtomicBool::new(false), &mut |_| ()).unwrap();
        let t = o.recording.tally;
        let per = |x: u64| x as f64 / t.completed as f64;
        println!(
            "{} {:>9.0}/s p50 {:>7} p99 {:>7} lag99 {:>7} cpu {:.0} ns (replicas {:.0} clients {:.0}) sys {:.4} copied {:.2} wire {:.1} c/slot {:.1} unanswered {} late {}",
            point.axes().get("protocol").unwrap().to_string()
                + point.axes().get("commands").unwrap().to_string().as_str(),
            t.completed as f64 / (o.window_ns as f64 / 1e9),
            o.recording.response.value_at_quantile(0.5),
            o.recording.response.value_at_quantile(0.99),
            o.recording.send_lag.value_at_quantile(0.99),
            per(o.process_cpu_ns),
            per(o.replicas.cpu_ns),
            per(o.clients.cpu_ns),
            per(o.replicas.counters.syscalls + o.clients.counters.syscalls),
            per(o.replicas.counters.copied_bytes + o.clients.counters.copied_bytes),
            per(o.replicas.counters.sent_bytes + o.clients.counters.sent_bytes),
            o.busiest.commands as f64 / o.busiest.slots as f64,
            t.unanswered,
            t.late
        );
    }
}
