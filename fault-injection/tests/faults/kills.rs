//! Real processes that are killed in an archive on a real file system, one after another.

use bfdb_fault_injection::{
    crashes::explore::Findings,
    killing::{Chain, run},
};

#[test]
fn whatever_killed_processes_leave_is_taken_up_by_the_next() {
    let findings = Findings::default();
    for seed in 1.. {
        let program = env!("CARGO_BIN_EXE_bfdb-fault-injection").into();
        run(&Chain { program, seed }, &findings).expect("the host takes an archive");
        let violations: Vec<String> = findings.violations().iter().map(ToString::to_string).collect();
        assert!(violations.is_empty(), "{}", violations.join("\n"));
        if findings.kills() >= 40 {
            break;
        }
        assert!(seed < 40, "{} kills by {seed} chains", findings.kills());
    }
}
