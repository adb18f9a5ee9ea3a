//! What the disk under a checkpoint delivers by itself, to hold a run's reads against.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Bytes a request, and what direct reads want addresses, offsets and lengths to divide by.
const REQUEST: usize = 8 << 20;
const ALIGN: usize = 4096;
/// Bytes and seconds of one measurement, at most.
const BYTES: usize = 512 << 20;
const SECONDS: f64 = 2.0;

/// Bytes a second of reading a checkpoint's largest file from its middle on, one request of 8 MiB after the other and past
/// the system's cache, so that nothing counts that memory already held. `None` where the file is smaller than a request, or
/// the system or file system reads no file so.
pub fn read_speed(checkpoint: &Path) -> Option<f64> {
    let path = largest(checkpoint)?;
    let mut file = direct(&path)?;
    let len = usize::try_from(file.metadata().ok()?.len()).ok()?;
    let middle = (len / 2 / REQUEST * REQUEST) as u64;
    file.seek(SeekFrom::Start(middle)).ok()?;
    let mut room = vec![0; REQUEST + ALIGN];
    let first = room.as_ptr().align_offset(ALIGN);
    let buffer = room.get_mut(first..first.checked_add(REQUEST)?)?;
    let start = Instant::now();
    let mut read = 0;
    while read < BYTES && start.elapsed().as_secs_f64() < SECONDS {
        match file.read(buffer).ok()? {
            REQUEST => read += REQUEST,
            // The end of the file, where a direct read may be short.
            _ => break,
        }
    }
    (read > 0).then(|| read as f64 / start.elapsed().as_secs_f64())
}

/// The largest file of a folder; a file itself.
fn largest(checkpoint: &Path) -> Option<PathBuf> {
    if !checkpoint.is_dir() {
        return Some(checkpoint.to_path_buf());
    }
    let files = std::fs::read_dir(checkpoint).ok()?.flatten();
    let sized = files.filter_map(|f| Some((f.path().metadata().ok()?.len(), f.path())));
    Some(sized.max()?.1)
}

#[cfg(target_os = "linux")]
fn direct(path: &Path) -> Option<File> {
    use std::os::unix::fs::OpenOptionsExt;
    let mut options = OpenOptions::new();
    options
        .read(true)
        .custom_flags(libc::O_DIRECT)
        .open(path)
        .ok()
}

#[cfg(not(target_os = "linux"))]
fn direct(_: &Path) -> Option<File> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_is_measured_by_its_largest_file() -> Result<(), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR"))?;
        std::fs::write(folder.path().join("config.json"), "{}")?;
        assert_eq!(read_speed(folder.path()), None, "less than a request");
        let weights = folder.path().join("model.safetensors");
        std::fs::write(&weights, vec![1; 3 * REQUEST + 5])?;
        assert_eq!(largest(folder.path()), Some(weights.clone()));
        // A file system that reads nothing directly has no figure; any other a positive one.
        if direct(&weights).is_some_and(|mut f| f.read(&mut []).is_ok()) {
            let found = read_speed(folder.path());
            assert!(found.is_none_or(|speed| speed > 0.0), "{found:?}");
        }
        assert_eq!(read_speed(&folder.path().join("absent")), None);
        Ok(())
    }
}
