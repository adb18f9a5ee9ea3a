//! The processor, for the manifest.

/// Its name as the system gives it.
pub fn name() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let line = text.lines().find(|l| l.starts_with("model name"));
    line.and_then(|l| l.split_once(':')).map_or_else(
        || std::env::consts::ARCH.to_owned(),
        |(_, name)| name.trim().to_owned(),
    )
}

/// The instruction set that the engine has chosen.
pub fn instructions() -> String {
    fathom_engine::kernels::isa()
        .map_or_else(|e| e.to_string(), |isa| format!("{isa:?}").to_lowercase())
}

/// Threads of the engine; 0 asks for one a core.
pub fn threads(asked: usize) -> usize {
    match asked {
        0 => std::thread::available_parallelism().map_or(1, Into::into),
        n => n,
    }
}
