//! The command line of the bfdb archive engine: parse, call the library, render, exit code.
//!
//! Nothing is decided here about files, codes or damage; what the library says is put into words, JSON lines and an exit
//! code. docs/cli.md is the documentation for users. Public is only what a wrapper or a test needs: [`run`], which is the
//! whole program, and the numbers in [`exit`].
//!
//! Invariant: uses the public interface of `bfdb` and nothing else of it.

mod arguments;
mod commands;
mod context;
pub mod exit;
mod failure;
mod interrupt;
mod limits;
mod output;
mod panics;
mod progress;
mod recovered;
mod text;
mod volumes;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    process::ExitCode,
};

use arguments::{Arguments, parse};
use context::Context;
use failure::Failure;
use interrupt::Interrupt;
use output::Output;

/// Runs the program with the arguments of this process and returns its exit code.
pub fn run() -> ExitCode {
    panics::keep_quiet();
    let arguments = match parse() {
        Ok(arguments) => arguments,
        Err(code) => return ExitCode::from(code),
    };
    limits::raise();
    let interrupt = Interrupt::listen();
    let output = Output::new(&arguments.global);
    let code = catch_unwind(AssertUnwindSafe(|| execute(arguments, &output, &interrupt)));
    ExitCode::from(code.unwrap_or_else(|_payload| {
        output.failure(&Failure::internal(panics::take()));
        exit::FAILED
    }))
}

fn execute(arguments: Arguments, output: &Output, interrupt: &Interrupt) -> u8 {
    let context = Context::new(arguments.global, output, interrupt).for_command(&arguments.command);
    let code = commands::run(&arguments.command, &context).unwrap_or_else(|failure| {
        output.failure(&failure);
        failure.code
    });
    match output.finish() {
        Ok(()) => code,
        // Whoever reads the output does not have all of it.
        Err(error) => {
            output
                .failure(&Failure::new(exit::FAILED, "writing to standard output failed").caused_by(&error));
            exit::worst(code, exit::FAILED)
        }
    }
}
