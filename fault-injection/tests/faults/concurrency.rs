//! Processes and threads that use one archive at once on a real file system, while one after another is killed.

use bfdb_fault_injection::{
    concurrency::{Together, run},
    crashes::explore::Findings,
};

#[test]
fn whatever_processes_do_at_once_has_one_order_for_each_name() {
    let findings = Findings::default();
    for seed in 1.. {
        let program = env!("CARGO_BIN_EXE_bfdb-fault-injection").into();
        let together = Together::small(program, seed);
        assert!(together.processes >= 3 && together.threads >= 2, "{together:?}");
        run(&together, &findings).expect("the host takes an archive");
        let violations: Vec<String> = findings.violations().iter().map(ToString::to_string).collect();
        assert!(violations.is_empty(), "{}", violations.join("\n"));
        if findings.operations() >= 1000 && findings.kills() > 0 {
            break;
        }
        assert!(
            seed < 10,
            "{} operations in {seed} archives",
            findings.operations()
        );
    }
}
