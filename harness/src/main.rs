//! The `fathom` command.

fn main() -> std::process::ExitCode {
    fathom_harness::cli::report_panics();
    fathom_harness::cli::main(std::env::args_os())
}
