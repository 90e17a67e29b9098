//! Lines of text from many threads to one output, without making any of those threads wait.
//!
//! Each thread formats its lines straight into a buffer of its own; one writer thread takes the full buffers away and
//! writes them in batches. A thread has two buffers and the writer holds the lock of at most one at any time, so
//! `try_lock` on one of the two always succeeds: a data core never waits, not even for a writer that was preempted
//! while holding a lock. If both buffers are full (the disk or the reader of the pipe is too slow) the line is dropped
//! whole and counted.
//!
//! The writer sleeps while nothing arrives; the first line after that wakes it, and while lines keep coming it checks
//! the buffers every [`BATCH`] by itself, so a busy core never pays for a wake-up.
//!
//! Rejected: a channel of owned lines. It costs an allocation per line, freed on another thread, and a wake-up of the
//! receiver for most of them.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, TryLockError};
use std::thread::{self, Thread};
use std::time::Duration;

use thread_local::ThreadLocal;

/// A writer of lines with a thread of its own. When it is dropped, that thread writes the rest and ends.
pub struct LineWriter {
    shared: Arc<Shared>,
    thread: Thread,
}

/// The destination of lines.
pub enum Output {
    Stdout,
    Stderr,
    /// A file that is appended to, and created with mode 0640 if it does not exist.
    File(PathBuf),
    /// Any other output; `reopen` has no effect on it.
    Other(Box<dyn Write + Send>),
}

impl LineWriter {
    /// Opens the output and starts the writer thread.
    ///
    /// `queue_bytes` limits the waiting bytes in memory, for all of `threads` together; each gets an equal share. The
    /// batch that is being written comes on top.
    ///
    /// `failed` is called on the writer thread when the output cannot be written or reopened.
    pub fn start(
        name: &str,
        output: Output,
        queue_bytes: usize,
        threads: usize,
        failed: impl Fn(&io::Error) + Send + 'static,
    ) -> io::Result<Self> {
        let sink = Sink::open(output, Box::new(failed))?;
        let limit_bytes = (queue_bytes / threads.max(1) / BUFFERS).max(MIN_BUFFER_BYTES);
        let shared = Arc::new(Shared {
            slots: ThreadLocal::new(),
            limit_bytes,
            wake_bytes: WAKE_BYTES.min(limit_bytes / 2),
            idle: AtomicBool::new(false),
            reopen: AtomicBool::new(false),
            stop: AtomicBool::new(false),
            written: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            ended: Mutex::new(false),
            ended_changed: Condvar::new(),
        });
        let handle = thread::Builder::new().name(name.to_owned()).spawn({
            let shared = Arc::clone(&shared);
            move || shared.run(sink)
        })?;
        Ok(LineWriter { shared, thread: handle.thread().clone() })
    }

    /// Queues one line. `format` appends it, newline included, to the given bytes; it may be called twice.
    pub fn write(&self, format: impl Fn(&mut Vec<u8>)) {
        let (slot, first) = match self.shared.slots.get() {
            Some(slot) => (slot, false),
            None => (self.shared.slots.get_or(Slot::default), true),
        };
        let Some(filled) = slot.append(self.shared.limit_bytes, format) else {
            add(&slot.dropped, 1);
            return;
        };
        // The writer sees a new slot only after it was woken: nothing else orders the two.
        let wakes = filled.before < self.shared.wake_bytes && filled.after >= self.shared.wake_bytes;
        if first || wakes || self.shared.idle.load(Ordering::Relaxed) {
            self.thread.unpark();
        }
    }

    /// Lines that the output has taken so far. Waiting lines are not counted yet, so each line is counted once.
    pub fn accepted(&self) -> u64 {
        self.shared.written.load(Ordering::Relaxed)
    }

    /// Lines that were dropped because the queue was full, or lost because the output failed.
    pub fn dropped(&self) -> u64 {
        let dropped: u64 = self.shared.slots.iter().map(|slot| slot.dropped.load(Ordering::Relaxed)).sum();
        dropped + self.shared.lost.load(Ordering::Relaxed)
    }

    /// Reopens a file by its path, before the next batch. Log rotation renames the file, then calls this. If it fails,
    /// the writer continues with the open file.
    pub fn reopen(&self) {
        self.shared.reopen.store(true, Ordering::Release);
        self.thread.unpark();
    }

    /// Writes what is queued and ends the writer thread. Blocks until then, or until `deadline` has passed: then it
    /// returns false and the rest is lost. Later lines are not written.
    pub fn close(&self, deadline: Duration) -> bool {
        self.stop();
        let ended = lock(&self.shared.ended);
        let waited = self.shared.ended_changed.wait_timeout_while(ended, deadline, |ended| !*ended);
        let (ended, _) = waited.unwrap_or_else(PoisonError::into_inner);
        *ended
    }

    fn stop(&self) {
        self.shared.stop.store(true, Ordering::Release);
        self.thread.unpark();
    }
}

impl Drop for LineWriter {
    fn drop(&mut self) {
        self.stop();
    }
}

struct Shared {
    slots: ThreadLocal<Slot>,
    /// For one buffer.
    limit_bytes: usize,
    /// A buffer that grows beyond this wakes the writer early.
    wake_bytes: usize,
    /// The writer sleeps until it is woken.
    idle: AtomicBool,
    reopen: AtomicBool,
    stop: AtomicBool,
    /// Lines that the output took, and lines that it refused.
    written: AtomicU64,
    lost: AtomicU64,
    ended: Mutex<bool>,
    ended_changed: Condvar,
}

impl Shared {
    /// The writer thread.
    fn run(&self, mut sink: Sink) {
        let mut batch = Vec::new();
        loop {
            if self.reopen.swap(false, Ordering::Acquire) {
                sink.reopen();
            }
            if self.stop.load(Ordering::Acquire) {
                self.sweep(&mut batch, &mut sink);
                break;
            }
            if self.sweep(&mut batch, &mut sink) {
                thread::park_timeout(BATCH);
                continue;
            }
            // A thread adds a line under its lock and then reads `idle`. Either the second sweep takes the lock after
            // it and finds the line, or before it: then the lock makes this store visible to the thread, and it wakes
            // us.
            self.idle.store(true, Ordering::Relaxed);
            let found = self.sweep(&mut batch, &mut sink);
            if !found && !self.stop.load(Ordering::Acquire) && !self.reopen.load(Ordering::Acquire) {
                thread::park();
            }
            self.idle.store(false, Ordering::Relaxed);
        }
        *lock(&self.ended) = true;
        self.ended_changed.notify_all();
    }

    /// Writes the contents of the buffers. Returns whether there was anything.
    fn sweep(&self, batch: &mut Vec<u8>, sink: &mut Sink) -> bool {
        let mut found = false;
        for buffer in self.slots.iter().flat_map(|slot| &slot.buffers) {
            std::mem::swap(&mut *lock(buffer), batch);
            if batch.is_empty() {
                continue;
            }
            found = true;
            let lost = sink.write(batch, &self.stop);
            self.lost.fetch_add(lost, Ordering::Relaxed);
            self.written.fetch_add(lines_of(batch).saturating_sub(lost), Ordering::Relaxed);
            batch.clear();
        }
        found
    }
}

/// The buffers of one thread.
#[derive(Default)]
struct Slot {
    buffers: [Mutex<Vec<u8>>; BUFFERS],
    dropped: AtomicU64,
}

/// The bytes in a buffer, before and after.
struct Filled {
    before: usize,
    after: usize,
}

impl Slot {
    /// Adds a line to the first buffer that has room and is not being taken by the writer.
    fn append(&self, limit_bytes: usize, format: impl Fn(&mut Vec<u8>)) -> Option<Filled> {
        for buffer in &self.buffers {
            let mut buffer = match buffer.try_lock() {
                Ok(buffer) => buffer,
                Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
                Err(TryLockError::WouldBlock) => continue,
            };
            let before = buffer.len();
            make_room(&mut buffer, limit_bytes);
            format(&mut buffer);
            let after = buffer.len();
            if after <= limit_bytes {
                return Some(Filled { before, after });
            }
            buffer.truncate(before);
            buffer.shrink_to(limit_bytes);
        }
        None
    }
}

/// Doubles a nearly full buffer, but never beyond its limit, as a plain push might.
fn make_room(buffer: &mut Vec<u8>, limit_bytes: usize) {
    if buffer.capacity() - buffer.len() < TYPICAL_LINE_BYTES && buffer.capacity() < limit_bytes {
        let capacity = (buffer.capacity() * 2).clamp(MIN_BUFFER_BYTES, limit_bytes);
        buffer.reserve_exact(capacity - buffer.len());
    }
}

/// The output, on the writer's side.
struct Sink {
    output: Box<dyn Write + Send>,
    path: Option<PathBuf>,
    failed: Box<dyn Fn(&io::Error) + Send>,
    /// The last write ended inside a line. The next one starts with a newline, so that its lines are complete.
    torn: bool,
}

impl Sink {
    fn open(output: Output, failed: Box<dyn Fn(&io::Error) + Send>) -> io::Result<Self> {
        let (output, path): (Box<dyn Write + Send>, _) = match output {
            Output::Stdout => (Box::new(io::stdout()), None),
            Output::Stderr => (Box::new(io::stderr()), None),
            Output::File(path) => (Box::new(open_file(&path)?), Some(path)),
            Output::Other(output) => (output, None),
        };
        Ok(Sink { output, path, failed, torn: false })
    }

    fn reopen(&mut self) {
        let Some(path) = &self.path else { return };
        match open_file(path) {
            Ok(file) => {
                self.output = Box::new(file);
                self.torn = false;
            }
            Err(error) => (self.failed)(&error),
        }
    }

    /// Writes whole lines; returns how many were lost.
    fn write(&mut self, lines: &[u8], stop: &AtomicBool) -> u64 {
        let mut rest = lines;
        let written = self.mend().and_then(|()| self.write_all(&mut rest, stop)).and_then(|()| self.output.flush());
        let Err(error) = written else { return 0 };
        self.torn = self.torn || !(rest.len() == lines.len() || lines[..lines.len() - rest.len()].ends_with(b"\n"));
        (self.failed)(&error);
        lines_of(rest)
    }

    fn mend(&mut self) -> io::Result<()> {
        if self.torn {
            self.output.write_all(b"\n")?;
            self.torn = false;
        }
        Ok(())
    }

    /// Like `Write::write_all`, but `rest` says where it stopped, and it waits for a non-blocking output.
    fn write_all(&mut self, rest: &mut &[u8], stop: &AtomicBool) -> io::Result<()> {
        while !rest.is_empty() {
            match self.output.write(rest) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(written) => *rest = rest.get(written..).unwrap_or_default(),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock && !stop.load(Ordering::Acquire) => {
                    thread::park_timeout(BATCH);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

fn lines_of(bytes: &[u8]) -> u64 {
    bytes.iter().filter(|byte| **byte == b'\n').count() as u64
}

fn open_file(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.create(true).append(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o640);
    options.open(path)
}

/// Adds to a counter that only the current thread writes, so no locked instruction is needed.
fn add(counter: &AtomicU64, delta: u64) {
    counter.store(counter.load(Ordering::Relaxed).wrapping_add(delta), Ordering::Relaxed);
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How long lines gather before they are written, under load. Short enough for `tail -f`, long enough for a write to
/// carry thousands of lines.
const BATCH: Duration = Duration::from_millis(50);

/// A buffer of this size is written before [`BATCH`] has passed: it is large enough for one write, and small enough to
/// be in the cache still.
const WAKE_BYTES: usize = 256 * 1024;

/// Per thread: while the writer takes one, lines go to the other.
const BUFFERS: usize = 2;

/// The initial size of a buffer, and the smallest share of the queue.
const MIN_BUFFER_BYTES: usize = 16 * 1024;

/// A buffer with less room than this grows before a line is formatted.
const TYPICAL_LINE_BYTES: usize = 2048;

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests;
