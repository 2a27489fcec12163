//! `Disk`: the one small way by which log, checkpoints and buffers reach the disk, so that tests can drop what was
//! not fsynced, tear writes and return EIO or ENOSPC (`kill -9` never tests an fsync).
//!
//! The interface is synchronous and says nothing about durability that the caller did not ask for: bytes are
//! durable after [`DiskFile::sync`], names (of files created, renamed or removed) after [`Disk::sync_dir`].
//! It does not know what is stored.

mod lossy;
mod os;
mod sim;

use std::io;
use std::path::{Path, PathBuf};

pub use lossy::LossyDisk;
pub use os::OsDisk;
pub use sim::{DiskFault, DiskOp, SimDisk, Tear};

/// A disk, or what a test takes for one.
pub trait Disk: Send + Sync + 'static {
    /// Creates a file to append to.
    ///
    /// # Errors
    /// `AlreadyExists` where the name is taken; whatever the disk says.
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;

    /// Opens an existing file to read and append.
    ///
    /// # Errors
    /// `NotFound`; whatever the disk says.
    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;

    /// Cuts a file to `len_bytes`; durable on return.
    ///
    /// # Errors
    /// `NotFound`; `InvalidInput` where the file is shorter; whatever the disk says.
    fn truncate(&self, path: &Path, len_bytes: u64) -> io::Result<()>;

    /// Gives a file another name, replacing what has it. Durable after [`Disk::sync_dir`].
    ///
    /// # Errors
    /// `NotFound`; whatever the disk says.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file. Durable after [`Disk::sync_dir`].
    ///
    /// # Errors
    /// `NotFound`; whatever the disk says.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// The names in a directory, sorted; none where the directory does not exist.
    ///
    /// # Errors
    /// Whatever the disk says, and names that are not UTF-8.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;

    /// Creates a directory and its parents; durable on return. One that exists is fine.
    ///
    /// # Errors
    /// Whatever the disk says.
    fn create_dir(&self, dir: &Path) -> io::Result<()>;

    /// Makes the names in a directory durable.
    ///
    /// # Errors
    /// `NotFound`; whatever the disk says.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;

    /// A file's length in bytes.
    ///
    /// # Errors
    /// `NotFound`; whatever the disk says.
    fn len(&self, path: &Path) -> io::Result<u64> {
        self.open(path)?.len()
    }

    /// A whole file. For files whose size is bounded by who wrote them.
    ///
    /// # Errors
    /// `NotFound`; whatever the disk says.
    fn read_all(&self, path: &Path) -> io::Result<Vec<u8>> {
        let file = self.open(path)?;
        let len = usize::try_from(file.len()?).map_err(io::Error::other)?;
        let mut bytes = vec![0; len];
        file.read_at(0, &mut bytes)?;
        Ok(bytes)
    }

    /// Replaces a file by `bytes`, durably and at once: a reader, also one after a crash, finds the
    /// old bytes or the new ones. The bytes pass through `<name>.tmp` beside it.
    ///
    /// # Errors
    /// Whatever the disk says; old and new bytes are both possible then.
    fn replace(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        self.replace_parts(path, &[bytes])
    }

    /// As [`Disk::replace`], with the bytes of all `parts` one after the other.
    ///
    /// # Errors
    /// Whatever the disk says; old and new bytes are both possible then.
    fn replace_parts(&self, path: &Path, parts: &[&[u8]]) -> io::Result<()> {
        let temporary = temporary_of(path)?;
        match self.remove(&temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = self.create(&temporary)?;
        for part in parts {
            file.append(part)?;
        }
        file.sync()?;
        self.rename(&temporary, path)?;
        self.sync_dir(parent_of(path)?)
    }

    /// Bytes that may still be written to the file system of a directory; `None` where nobody knows.
    ///
    /// # Errors
    /// `NotFound`; whatever the disk says.
    fn free_bytes(&self, dir: &Path) -> io::Result<Option<u64>>;

    /// Bytes of the files in a directory, not counting directories in it.
    ///
    /// # Errors
    /// Whatever the disk says.
    fn used_bytes(&self, dir: &Path) -> io::Result<u64> {
        let mut used = 0u64;
        for name in self.list(dir)? {
            match self.len(&dir.join(name)) {
                Ok(len) => used = used.saturating_add(len),
                // Removed meanwhile, or a directory.
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::NotFound | io::ErrorKind::IsADirectory
                    ) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(used)
    }
}

/// An open file: append at the end, read anywhere.
pub trait DiskFile: Send + Sync {
    /// Appends all of `bytes`. After an error any part of them may have been written.
    ///
    /// # Errors
    /// Whatever the disk says.
    fn append(&self, bytes: &[u8]) -> io::Result<()>;

    /// Fills `buffer` from `offset`.
    ///
    /// # Errors
    /// `UnexpectedEof` where the file ends before; whatever the disk says.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()>;

    /// The length in bytes, appended and not yet durable ones included.
    ///
    /// # Errors
    /// Whatever the disk says.
    fn len(&self) -> io::Result<u64>;

    /// Whether the file holds no bytes.
    ///
    /// # Errors
    /// Whatever the disk says.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Makes all appended bytes durable. After an error nobody knows which of them are, and a second attempt that
    /// succeeds proves nothing: give the file up.
    ///
    /// # Errors
    /// Whatever the disk says.
    fn sync(&self) -> io::Result<()>;
}

fn temporary_of(path: &Path) -> io::Result<PathBuf> {
    let mut name = path.file_name().ok_or_else(|| no_name(path))?.to_os_string();
    name.push(".tmp");
    Ok(path.with_file_name(name))
}

fn parent_of(path: &Path) -> io::Result<&Path> {
    path.parent().ok_or_else(|| no_name(path))
}

fn no_name(path: &Path) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, format!("not a file name: path={}", path.display()))
}

#[cfg(test)]
mod tests;
