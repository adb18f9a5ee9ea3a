//! Corrupted files: opening one is a checkpoint or an error, never a panic, and never more memory than a small
//! multiple of the file's size.

mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use fathom_engine::Error;
use fathom_engine::format::{Bytes, Tensor, gguf, safetensors};
use proptest::prelude::*;
use support::{Gguf, safetensors_small, strings, tensor};

/// Memory of this many times the file's size, and [`MEMORY_BASE`], is justified: a list of empty strings in
/// GGUF takes 8 bytes an entry and 24 in memory, a tensor's shortest entry 33 and some 300.
const MEMORY_FACTOR: usize = 16;
/// Bytes of memory that need no justification: messages.
const MEMORY_BASE: usize = 64 << 10;

thread_local! {
    /// Bytes this thread has allocated and not freed, and the most that were.
    static LIVE: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

struct Counting;

impl Counting {
    fn count(bytes: isize) {
        LIVE.set(LIVE.get() + bytes);
        PEAK.set(PEAK.get().max(LIVE.get()));
    }
}

// SAFETY: every call goes to the system's allocator as it came; the counters are thread-local cells without
// destructors, which allocate nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        Self::count(layout.size() as isize);
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        Self::count(-(layout.size() as isize));
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// What `work` gives, and the most memory that it had at a time, in bytes.
fn measured<T>(work: impl FnOnce() -> T) -> (T, usize) {
    let before = LIVE.get();
    PEAK.set(before);
    let out = work();
    (out, (PEAK.get() - before) as usize)
}

/// Checks what was promised of a file, whatever is in it.
fn check<T>(
    bytes: Vec<u8>,
    read: fn(&str, &Bytes) -> Result<T, Error>,
    tensors: fn(&T) -> Vec<&Tensor>,
) -> Result<(), TestCaseError> {
    let size = bytes.len();
    let bytes = Bytes::from_vec(bytes);
    let (found, memory) = measured(|| read("x", &bytes));
    let most = MEMORY_BASE + MEMORY_FACTOR * size;
    prop_assert!(
        memory <= most,
        "{memory} bytes of memory for {size} of file"
    );
    match found {
        Ok(file) => {
            for tensor in tensors(&file) {
                let row = tensor.shape.last().copied().unwrap_or(1);
                let rows: usize = tensor.shape.iter().rev().skip(1).product();
                let bytes = tensor.ty.bytes_for(row).map(|bytes| rows * bytes);
                prop_assert_eq!(bytes, Some(tensor.data.len()));
                prop_assert!(
                    tensor
                        .shape
                        .last()
                        .is_none_or(|n| n % tensor.ty.info().block == 0)
                );
            }
        }
        Err(error) => {
            let message = error.to_string();
            prop_assert!(matches!(error, Error::Input { .. }), "{}", message);
            prop_assert!(!message.contains(char::is_control), "{:?}", message);
            prop_assert!(message.len() < 2000, "{}", message);
        }
    }
    Ok(())
}

fn check_gguf(bytes: Vec<u8>) -> Result<(), TestCaseError> {
    check(bytes, gguf::read, |f| f.tensors.values().collect())
}

fn check_safetensors(bytes: Vec<u8>) -> Result<(), TestCaseError> {
    check(bytes, safetensors::read, |f| f.tensors.values().collect())
}

/// One way to spoil a file; positions are taken modulo its length.
#[derive(Clone, Debug)]
enum Edit {
    Flip { at: usize, bit: u8 },
    Byte { at: usize, value: u8 },
    Word { at: usize, value: u64 },
    Half { at: usize, value: u32 },
    Truncate { at: usize },
    Remove { at: usize, len: usize },
    Copy { from: usize, to: usize, len: usize },
    Insert { at: usize, bytes: Vec<u8> },
}

impl Edit {
    fn apply(&self, bytes: &mut Vec<u8>) {
        if bytes.is_empty() {
            return;
        }
        let n = bytes.len();
        let write = |bytes: &mut Vec<u8>, at: usize, value: &[u8]| {
            for (i, b) in value.iter().enumerate() {
                bytes[(at + i) % n] = *b;
            }
        };
        match *self {
            Self::Flip { at, bit } => bytes[at % n] ^= 1 << bit,
            Self::Byte { at, value } => bytes[at % n] = value,
            Self::Word { at, value } => write(bytes, at % n, &value.to_le_bytes()),
            Self::Half { at, value } => write(bytes, at % n, &value.to_le_bytes()),
            Self::Truncate { at } => bytes.truncate(at % n),
            Self::Remove { at, len } => drop(bytes.drain(at % n..(at % n + len).min(n))),
            Self::Copy { from, to, len } => {
                let part = bytes[from % n..(from % n + len).min(n)].to_vec();
                bytes.splice(to % n..to % n, part);
            }
            Self::Insert { at, bytes: ref new } => drop(bytes.splice(at % n..at % n, new.clone())),
        }
    }
}

fn edits() -> impl Strategy<Value = Vec<Edit>> {
    let at = any::<usize>;
    let value = prop_oneof![
        0u64..70,
        Just(u64::MAX),
        Just(u64::MAX - 31),
        Just(1 << 63),
        Just(1 << 60),
        Just((1 << 61) + 1),
        Just(1 << 32),
        Just(u64::from(u32::MAX)),
        any::<u64>(),
    ];
    let edit = prop_oneof![
        (at(), 0..8u8).prop_map(|(at, bit)| Edit::Flip { at, bit }),
        (
            at(),
            prop_oneof![
                any::<u8>(),
                Just(b'9'),
                Just(b'['),
                Just(b'{'),
                Just(b'"'),
                Just(b',')
            ]
        )
            .prop_map(|(at, value)| Edit::Byte { at, value }),
        (at(), value.clone()).prop_map(|(at, value)| Edit::Word { at, value }),
        (at(), value).prop_map(|(at, value)| Edit::Half {
            at,
            value: value as u32
        }),
        at().prop_map(|at| Edit::Truncate { at }),
        (at(), 1..100usize).prop_map(|(at, len)| Edit::Remove { at, len }),
        (at(), at(), 1..100usize).prop_map(|(from, to, len)| Edit::Copy { from, to, len }),
        (at(), proptest::collection::vec(any::<u8>(), 1..40))
            .prop_map(|(at, bytes)| Edit::Insert { at, bytes }),
    ];
    proptest::collection::vec(edit, 1..4)
}

fn spoilt(mut bytes: Vec<u8>, edits: &[Edit]) -> Vec<u8> {
    edits.iter().for_each(|edit| edit.apply(&mut bytes));
    bytes
}

/// A GGUF file with a value of every type.
fn gguf_with_all_types() -> Vec<u8> {
    let mut file = Gguf::small();
    for ty in [0, 1, 2, 3, 4, 5, 6, 7, 10, 11, 12] {
        file = file.key(
            &format!("scalar{ty}"),
            ty,
            vec![0; [1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8][ty as usize]],
        );
        let elements = vec![1; 3 * [1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8][ty as usize]];
        file = file.key(&format!("array{ty}"), 9, support::array(ty, 3, &elements));
    }
    file.key("general.alignment", 4, 32u32.to_le_bytes())
        .bytes()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20_000, ..ProptestConfig::default() })]

    #[test]
    fn a_spoilt_gguf_is_an_error_or_a_file(edits in edits()) {
        check_gguf(spoilt(gguf_with_all_types(), &edits))?;
    }

    #[test]
    fn a_spoilt_safetensors_is_an_error_or_a_file(edits in edits()) {
        check_safetensors(spoilt(safetensors_small(), &edits))?;
    }

    /// The crate of the format's authors reads what this reader reads, alike; and reads nothing else, except for
    /// the later of two tensors of one name.
    #[test]
    fn a_spoilt_safetensors_is_refused_where_the_crate_refuses(edits in edits()) {
        let bytes = spoilt(safetensors_small(), &edits);
        let ours = safetensors::read("x", &Bytes::from_vec(bytes.clone()));
        let theirs = ::safetensors::SafeTensors::deserialize(&bytes);
        match (ours, theirs) {
            (Ok(ours), Ok(theirs)) => {
                prop_assert_eq!(ours.tensors.len() + ours.unreadable.len(), theirs.len());
                for (name, tensor) in &ours.tensors {
                    let their = theirs.tensor(name).expect("the same tensors");
                    prop_assert_eq!(&tensor.data[..], their.data());
                    prop_assert_eq!(&tensor.shape[..], their.shape());
                }
            }
            (Ok(ours), Err(theirs)) => {
                // Dtypes that the crate does not know, and the sizes of those it knows and we need not.
                prop_assert!(!ours.unreadable.is_empty(), "{}", theirs);
            }
            (Err(ours), Ok(_)) => prop_assert!(ours.to_string().contains("twice"), "{}", ours),
            (Err(_), Err(_)) => {}
        }
    }

    #[test]
    fn any_bytes_are_an_error_or_a_file(start in 0..3usize, bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let start: &[u8] = [&b""[..], b"GGUF\x03\0\0\0", b"\x20\0\0\0\0\0\0\0{\"a\":{"][start];
        check_gguf([start, &bytes].concat())?;
        check_safetensors([start, &bytes].concat())?;
    }
}

/// The files whose parts take the most memory for their size.
#[test]
fn dense_files_take_a_small_multiple_of_their_size() -> Result<(), TestCaseError> {
    const N: usize = 20_000;
    let empty_strings = Gguf::small().key("k", 9, strings(&vec![""; N]));
    check_gguf(empty_strings.bytes())?;
    let bytes = Gguf::small().key("k", 9, support::array(0, N as u64, &[0; N]));
    check_gguf(bytes.bytes())?;

    let mut keys = Gguf::small();
    keys.keys
        .extend((0..N).map(|i| (format!("{i:x}"), 0, vec![0])));
    check_gguf(keys.bytes())?;

    let mut tensors = Gguf::small();
    tensors.alignment = 1;
    tensors.tensors = (0..N)
        .map(|i| tensor(&format!("{i:x}"), &[1], 1, 2 * i as u64))
        .collect();
    tensors.data = vec![0; 2 * N];
    check_gguf(
        tensors
            .key("general.alignment", 4, 1u32.to_le_bytes())
            .bytes(),
    )?;

    let entries: Vec<String> = (0..N)
        .map(|i| format!(r#""{i:x}":{{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}"#))
        .collect();
    check_safetensors(support::safetensors(
        &format!("{{{}}}", entries.join(",")),
        &[],
    ))?;
    let shape = format!(
        r#"{{"a":{{"dtype":"F32","shape":[0{}],"data_offsets":[0,0]}}}}"#,
        ",0".repeat(N)
    );
    check_safetensors(support::safetensors(&shape, &[]))
}
