//! Downloads from a hub that truncates, corrupts, stalls, forgets, limits and lies: what has its final name is right.

mod command;
mod faults;
mod hub;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hub::{COMMIT, Hub};

type Test = Result<(), Box<dyn Error>>;
/// Paths and contents.
type Files = Vec<(&'static str, Vec<u8>)>;

const TOKEN: &str = "hf_a-secret-of-somebody";
const LARGE: &str = "model.safetensors";

/// Bytes without a pattern (xorshift32).
fn noise(n: usize, seed: u32) -> Vec<u8> {
    let mut x = seed.wrapping_mul(2_654_435_761) | 1;
    let mut next = || {
        x ^= x << 13;
        x ^= x >> 17;
        x ^= x << 5;
        x as u8
    };
    (0..n).map(|_| next()).collect()
}

/// A hub with a model of five files, in two folders, large and small, one of them empty, two of them equal.
fn a_hub() -> Result<(Hub, Files), Box<dyn Error>> {
    let hub = Hub::start()?;
    let files = vec![
        (LARGE, noise(300_000, 1)),
        ("config.json", b"{\"a\": 1}\n".to_vec()),
        ("empty.txt", Vec::new()),
        ("sub/copy.json", b"{\"a\": 1}\n".to_vec()),
        ("sub/other.bin", noise(50_000, 2)),
    ];
    for (path, bytes) in &files {
        hub.put(path, bytes, bytes.len() > 1000);
    }
    Ok((hub, files))
}

fn repo(cache: &Path) -> PathBuf {
    cache.join("models--owner--name")
}

fn snapshot(cache: &Path) -> PathBuf {
    repo(cache).join("snapshots").join(COMMIT)
}

/// Every file of the snapshot is as the hub has it.
fn all_right(cache: &Path, files: &[(&str, Vec<u8>)]) -> Test {
    for (path, bytes) in files {
        assert!(
            std::fs::read(snapshot(cache).join(path))? == *bytes,
            "{path}"
        );
    }
    Ok(())
}

/// What stands under a final name in the cache is what its name says.
fn nothing_wrong_is_visible(hub: &Hub, cache: &Path, files: &[(&str, Vec<u8>)]) -> Test {
    let blobs = repo(cache).join("blobs");
    for entry in std::fs::read_dir(&blobs).into_iter().flatten() {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name.ends_with(".incomplete") {
            continue;
        }
        let bytes = files.iter().find(|(path, _)| hub.hash(path) == name);
        let bytes = &bytes.ok_or(format!("{name}: no such blob"))?.1;
        assert!(std::fs::read(blobs.join(&name))? == *bytes, "{name}");
    }
    for (path, bytes) in files {
        let path = snapshot(cache).join(path);
        assert!(!path.is_symlink() || std::fs::read(&path)? == *bytes);
    }
    Ok(())
}

/// A hub for other programs, by hand: serves `FATHOM_TEST_HUB_FILES` (a folder) as owner/name for ten minutes.
#[test]
#[ignore = "by hand, to hold other clients against this hub"]
fn a_hub_for_other_clients() -> Test {
    let folder = PathBuf::from(std::env::var("FATHOM_TEST_HUB_FILES")?);
    let hub = Hub::start()?;
    for entry in std::fs::read_dir(&folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let bytes = std::fs::read(entry.path())?;
        hub.put(&name, &bytes, bytes.len() > 10_000);
    }
    std::fs::write(std::env::var("FATHOM_TEST_HUB_URL")?, &hub.url)?;
    std::thread::sleep(Duration::from_secs(600));
    Ok(())
}
