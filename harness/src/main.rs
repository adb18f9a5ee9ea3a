//! The `fathom` command. Diagnostics go to stderr: warnings, or what `FATHOM_LOG` asks for (`debug`, `fathom_engine=info`).

use tracing_subscriber::EnvFilter;

/// Every layer makes and drops matrices of megabytes: the system's allocator gives such memory back at once, and a sixth of a
/// prompt's time went into getting it again, page by page.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    let filter = EnvFilter::builder()
        .with_env_var("FATHOM_LOG")
        .with_default_directive(tracing::Level::WARN.into())
        .from_env_lossy();
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .without_time()
        .with_target(false)
        .init();
    fathom_harness::cli::report_panics();
    fathom_harness::cli::main(std::env::args_os())
}
