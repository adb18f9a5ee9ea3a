//! `fathom serve`, driven over the wire, on the built-in model.

mod abuse;
mod answers;
mod audit;
mod client;
mod endpoint;
mod hostile;
mod proxy;
mod remote;
mod sharing;

type Test = Result<(), Box<dyn std::error::Error>>;
