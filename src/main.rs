//! The program. What was typed is in `cli`, what it means in `options`, what
//! is done in `run`.

use std::ffi::OsString;
use std::process::ExitCode;

use httpsniff::run::say;
use httpsniff::{command, run};

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    if let Some(status) = command::wait_and_become(&arguments) {
        return ExitCode::from(status);
    }
    std::panic::set_hook(Box::new(|panic| {
        say(&format!("this is a bug, please report it: {panic}"));
        std::process::exit(1);
    }));
    ExitCode::from(run::run(arguments))
}
