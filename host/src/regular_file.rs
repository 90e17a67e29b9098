//! Regular files: opened without waiting, read up to a limit, and replaced completely or not at all.
//!
//! A path in the configuration may lead to a pipe or a device, where opening or reading might never end, or to a file
//! of any size.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Opens a regular file for reading.
///
/// # Errors
/// It cannot be opened, or is something else: a directory, a pipe, a device.
pub fn open(path: &Path) -> io::Result<File> {
    // Opening a pipe would wait for a writer. With regular files the flag does nothing.
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::Error::other("it is not a file, or not a regular file")),
    }
}

/// The whole content of a regular file of at most `limit` bytes.
///
/// # Errors
/// As for [`open`]; or it cannot be read, or is larger.
pub fn read(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    // One byte more, so that a larger file is noticed.
    open(path)?.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    match bytes.len() as u64 <= limit {
        true => Ok(bytes),
        false if limit >= MEBIBYTE => Err(io::Error::other(format!("it is larger than {} MiB", limit / MEBIBYTE))),
        false => Err(io::Error::other(format!("it is larger than {} KiB", limit >> 10))),
    }
}

/// Replaces the content of a file, or creates it: completely, also if the machine loses its power, or not at all.
///
/// # Errors
/// It cannot be written; what was there is as it was.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let partial = path.with_added_extension(format!("{}.part", std::process::id()));
    let written = File::create(&partial)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
        .and_then(|()| std::fs::rename(&partial, path));
    written.inspect_err(|_| drop(std::fs::remove_file(&partial)))
}

const MEBIBYTE: u64 = 1 << 20;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_whole_or_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("gateway.lock");
        for content in ["first", "second"] {
            replace(&path, content.as_bytes()).unwrap();
            assert_eq!(std::fs::read_to_string(&path).unwrap(), content);
        }
        // A directory cannot be replaced by a file.
        let taken = folder.path().join("taken");
        std::fs::create_dir(&taken).unwrap();
        assert!(replace(&taken, b"text").is_err());
        assert!(replace(&folder.path().join("none/file"), b"text").is_err());
        let mut left: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["gateway.lock", "taken"]);
    }

    #[test]
    fn only_files_of_a_bounded_size_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("small"), "text").unwrap();
        File::create(at("full")).unwrap().set_len(MEBIBYTE).unwrap();
        File::create(at("large")).unwrap().set_len(MEBIBYTE + 1).unwrap();
        assert!(std::process::Command::new("mkfifo").arg(at("pipe")).status().unwrap().success());
        assert_eq!(read(&at("small"), 4).unwrap(), b"text");
        assert_eq!(read(&at("full"), MEBIBYTE).unwrap().len(), 1 << 20);
        for (name, limit, words) in [
            ("large", MEBIBYTE, "larger than 1 MiB"),
            ("large", 64 << 10, "larger than 64 KiB"),
            ("pipe", MEBIBYTE, "not a file"),
            (".", MEBIBYTE, "not a file"),
            ("/dev/zero", MEBIBYTE, "not a file"),
            ("none", MEBIBYTE, "No such file"),
        ] {
            let error = read(&at(name), limit).unwrap_err().to_string();
            assert!(error.contains(words), "{name}: {error}");
        }
    }
}
