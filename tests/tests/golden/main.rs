//! The engine against references that other programs made: `tests/golden/README.md`.

mod compressed;
mod contract;
mod dense;
mod far;
mod faults;
mod fp8;
mod logits;
mod long;
mod mixtures;
mod smollm2;
mod spellings;
mod tokens;
