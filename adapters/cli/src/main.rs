//! The `tidegate` command: data on stdout, everything else on stderr.
//!
//! Exit status: 0 done, 1 a fatal error (one line on stderr), 2 wrong usage.
//!
//! **Invariant:** no password is printed, not even one in wrong usage that is quoted.

mod address;
mod args;
mod consume;
mod fatal;
mod kafka;
mod output;
mod printer;
mod progress;
mod record;
mod replay;
mod say;
mod screen;
mod serve;
mod sim;
mod stop;

use std::process::ExitCode;

fn main() -> ExitCode {
    let done = match args::read().command {
        args::Command::Consume(consume) => consume::run(*consume),
        args::Command::Replay(args) => replay::run(&args),
        args::Command::Sim(args) => sim::run_command(&args),
        args::Command::Serve(args) => serve::run(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(fatal) => {
            say::line(format_args!("error: {fatal}"));
            ExitCode::FAILURE
        }
    }
}
