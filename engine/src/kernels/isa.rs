//! Which instruction set the kernels use: chosen once, or forced with `FATHOM_ISA`.

use std::sync::OnceLock;

#[cfg(target_arch = "aarch64")]
use super::simd::Neon;
#[cfg(target_arch = "x86_64")]
use super::simd::{Avx2, Avx512};
use super::simd::{Kernel, Portable, Simd};
use crate::error::{Error, Result};

/// An instruction set that kernels exist for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Isa {
    /// Plain Rust: the oracle of the others.
    Portable,
    /// AArch64.
    Neon,
    /// x86-64 with AVX2, FMA and F16C.
    Avx2,
    /// x86-64 with AVX-512 F, BW, DQ and VL besides.
    Avx512,
    /// x86-64 with AVX-512 VNNI besides: products of integers in one instruction.
    Avx512Vnni,
}

impl Isa {
    /// Every instruction set, the best last.
    pub const ALL: [Self; 5] = [
        Self::Portable,
        Self::Neon,
        Self::Avx2,
        Self::Avx512,
        Self::Avx512Vnni,
    ];

    /// The value of `FATHOM_ISA` that forces it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Portable => "portable",
            Self::Neon => "neon",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
            Self::Avx512Vnni => "avx512vnni",
        }
    }

    /// Whether this machine has it.
    pub fn is_available(self) -> bool {
        match self {
            Self::Portable => true,
            Self::Neon => cfg!(target_arch = "aarch64"),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => {
                is_x86_feature_detected!("avx2")
                    && is_x86_feature_detected!("fma")
                    && is_x86_feature_detected!("f16c")
            }
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => {
                Self::Avx2.is_available()
                    && is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512vl")
            }
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Vnni => {
                Self::Avx512.is_available() && is_x86_feature_detected!("avx512vnni")
            }
            #[cfg(not(target_arch = "x86_64"))]
            _ => false,
        }
    }

    /// The best that this machine has.
    fn best() -> Self {
        Self::ALL
            .into_iter()
            .rev()
            .find(|isa| isa.is_available())
            .unwrap_or(Self::Portable)
    }

    /// The one in use; the best where `FATHOM_ISA` cannot be obeyed (`isa` is where that is said).
    pub(super) fn current() -> Self {
        static CURRENT: OnceLock<Isa> = OnceLock::new();
        *CURRENT.get_or_init(|| isa().unwrap_or_else(|_| Self::best()))
    }

    /// Tokens in a tile of the register block, of floats and of integers.
    pub(super) fn tokens(self) -> (usize, usize) {
        struct Tokens;
        impl Kernel for Tokens {
            type Output = (usize, usize);

            #[inline(always)]
            unsafe fn run<V: Simd>(self) -> Self::Output {
                (V::TOKENS, V::WORD_TOKENS)
            }
        }
        self.run(Tokens)
    }

    /// Runs the kernel compiled for this instruction set, which must be available.
    pub(super) fn run<K: Kernel>(self, kernel: K) -> K::Output {
        match self {
            // SAFETY: needs no instruction set.
            Self::Portable => unsafe { Portable::enter(kernel) },
            // SAFETY: every AArch64 has it.
            #[cfg(target_arch = "aarch64")]
            Self::Neon => unsafe { Neon::enter(kernel) },
            // SAFETY: only an available `Isa` is ever run.
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => unsafe { Avx2::enter(kernel) },
            // SAFETY: only an available `Isa` is ever run.
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => unsafe { Avx512::<false>::enter(kernel) },
            // SAFETY: only an available `Isa` is ever run.
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Vnni => unsafe { Avx512::<true>::enter(kernel) },
            _ => unreachable!("{self} is not available"),
        }
    }
}

impl std::fmt::Display for Isa {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// The instruction set in use: the best that this machine has, or the value of `FATHOM_ISA`.
///
/// # Errors
/// When `FATHOM_ISA` names none, or one that this machine lacks.
pub fn isa() -> Result<Isa> {
    match std::env::var_os("FATHOM_ISA") {
        None => Ok(Isa::best()),
        Some(name) => parse(&name.to_string_lossy()),
    }
}

fn parse(name: &str) -> Result<Isa> {
    let known = Isa::ALL.into_iter().filter(|isa| isa.is_available());
    known.clone().find(|isa| isa.name() == name).ok_or_else(|| {
        let names: Vec<_> = known.map(Isa::name).collect();
        let expected = format!("one that this machine has: {}", names.join(", "));
        Error::input("environment", "FATHOM_ISA", format!("{name:?}"), expected)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back_and_others_refused() {
        for isa in Isa::ALL.into_iter().filter(|isa| isa.is_available()) {
            assert_eq!(parse(isa.name()).unwrap(), isa);
        }
        let error = parse("sse9").unwrap_err().to_string();
        assert!(
            error.starts_with("environment: FATHOM_ISA: found \"sse9\", expected"),
            "{error}"
        );
    }
}
