//! A request to stop, from Ctrl-C or SIGTERM, noticed between two pieces of work.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use crate::{Error, Result};

/// Shared by whoever asks and whoever works.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Raised by the first Ctrl-C or SIGTERM; a second one ends the process at once.
    ///
    /// # Errors
    /// When the system does not let us handle signals.
    pub fn on_signals() -> Result<Self> {
        // The process has one handler, however often its library is entered.
        static HANDLED: OnceLock<Stop> = OnceLock::new();
        if let Some(stop) = HANDLED.get() {
            return Ok(stop.clone());
        }
        let stop = HANDLED.get_or_init(Self::default).clone();
        let raised = stop.clone();
        ctrlc::set_handler(move || {
            if raised.0.swap(true, Ordering::SeqCst) {
                std::process::exit(3);
            }
        })
        .map_err(|e| Error::Unfinished(format!("cannot handle signals: {e}")))?;
        Ok(stop)
    }

    /// Asks to stop.
    pub fn raise(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    /// Goes on, or is [`Error::Interrupted`].
    ///
    /// # Errors
    /// When somebody asked to stop.
    pub fn check(&self) -> Result<()> {
        if self.0.load(Ordering::SeqCst) {
            Err(Error::Interrupted)
        } else {
            Ok(())
        }
    }
}
