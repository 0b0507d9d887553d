//! Parses the command line, runs it, prints the error, and ends with its exit status.

use std::process::ExitCode;

fn main() -> ExitCode {
    smarthost::cli::main()
}
