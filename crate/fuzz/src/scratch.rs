//! Files without a name: for what opens its file by itself.

use std::fs::File;
use std::io::{Seek, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// A file that is gone when its process is.
#[derive(Debug)]
pub(crate) struct Scratch {
    file: File,
    path: PathBuf,
}

impl Scratch {
    /// An empty file.
    pub(crate) fn new() -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let shared = Path::new("/dev/shm");
        let directory = match shared.is_dir() {
            true => shared.to_owned(),
            false => std::env::temp_dir(),
        };
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("gomapscope-fuzz-{}-{number}", std::process::id());
        let place = directory.join(name);
        let file = File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&place)
            .expect("a file in memory");
        std::fs::remove_file(&place).expect("the file just made");
        let path = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
        Self { file, path }
    }

    /// Replaces its contents.
    pub(crate) fn hold(&mut self, bytes: &[u8]) -> &Path {
        self.file.rewind().expect("a file in memory");
        self.file.write_all(bytes).expect("a file in memory");
        self.file
            .set_len(bytes.len() as u64)
            .expect("a file in memory");
        &self.path
    }
}

thread_local! {
    static ONE: std::cell::RefCell<Scratch> = std::cell::RefCell::new(Scratch::new());
}

/// Lends a file with these contents.
pub(crate) fn file<T>(bytes: &[u8], lend: impl FnOnce(&Path) -> T) -> T {
    ONE.with_borrow_mut(|scratch| lend(scratch.hold(bytes)))
}
