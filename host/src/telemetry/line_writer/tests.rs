use super::*;
use std::sync::mpsc;

const PATIENCE: Duration = Duration::from_secs(20);

/// An output that blocks until it is opened.
struct Gate {
    open: mpsc::Receiver<()>,
    entered: mpsc::Sender<()>,
    written: Arc<Mutex<Vec<u8>>>,
}

impl Write for Gate {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _ = self.entered.send(());
        let _ = self.open.recv();
        self.written.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn ignore(_: &io::Error) {}

#[test]
fn every_line_of_every_thread_comes_out_whole_and_in_its_order() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("lines");
    let writer = LineWriter::start("test", Output::File(path.clone()), 64 << 20, 8, ignore).unwrap();
    thread::scope(|scope| {
        for worker in 0..8 {
            let writer = &writer;
            scope.spawn(move || {
                for number in 0..5_000 {
                    writer.write(|line| writeln!(line, "{worker} {number} {}", "x".repeat(number % 300)).unwrap());
                }
            });
        }
    });
    assert!(writer.close(PATIENCE));
    assert_eq!((writer.accepted(), writer.dropped()), (40_000, 0));

    let text = std::fs::read_to_string(path).unwrap();
    let mut seen = vec![std::collections::BTreeSet::new(); 8];
    for line in text.lines() {
        let mut parts = line.split(' ');
        let worker: usize = parts.next().unwrap().parse().unwrap();
        let number: usize = parts.next().unwrap().parse().unwrap();
        assert_eq!(parts.next(), Some("x".repeat(number % 300).as_str()));
        assert!(seen[worker].insert(number), "{worker} {number} came twice");
    }
    assert!(seen.iter().all(|numbers| numbers.len() == 5_000));
}

#[test]
fn a_full_queue_drops_whole_lines_and_counts_them() {
    let (open, gate) = mpsc::channel();
    let (entered, inside) = mpsc::channel();
    let written = Arc::new(Mutex::new(Vec::new()));
    let output = Gate { open: gate, entered, written: Arc::clone(&written) };
    let writer = LineWriter::start("test", Output::Other(Box::new(output)), 1, 1, ignore).unwrap();
    writer.write(|line| line.extend_from_slice(b"first\n"));
    inside.recv_timeout(PATIENCE).unwrap();

    // The writer now waits inside the output: lines that fit into the two buffers are kept, the rest is dropped.
    let long = format!("{}\n", "y".repeat(999));
    for _ in 0..100 {
        writer.write(|line| line.extend_from_slice(long.as_bytes()));
    }
    let kept = 2 * (MIN_BUFFER_BYTES / long.len()) as u64;
    assert_eq!((writer.accepted(), writer.dropped()), (0, 100 - kept));

    drop(open);
    assert!(writer.close(PATIENCE));
    assert_eq!((writer.accepted(), writer.dropped()), (1 + kept, 100 - kept));
    let text = String::from_utf8(written.lock().unwrap().clone()).unwrap();
    assert_eq!(text, format!("first\n{}", long.repeat(kept as usize)));
}

#[test]
fn a_line_longer_than_a_buffer_is_dropped_and_its_memory_given_back() {
    let slot = Slot::default();
    assert!(slot.append(MIN_BUFFER_BYTES, |line| line.resize(line.len() + (1 << 20), b'z')).is_none());
    assert!(slot.buffers.iter().all(|buffer| lock(buffer).capacity() <= MIN_BUFFER_BYTES));
    assert!(slot.append(MIN_BUFFER_BYTES, |line| line.extend_from_slice(b"short\n")).is_some());
}

#[test]
fn a_buffer_never_grows_past_its_limit() {
    let slot = Slot::default();
    let limit = 5 * MIN_BUFFER_BYTES;
    while slot.append(limit, |line| line.extend_from_slice(&[b'a'; 700])).is_some() {
        assert!(slot.buffers.iter().all(|buffer| lock(buffer).capacity() <= limit));
    }
}

#[test]
fn reopen_follows_a_rotated_file() {
    let folder = tempfile::tempdir().unwrap();
    let (path, rotated) = (folder.path().join("log"), folder.path().join("log.1"));
    let (told, failures) = mpsc::channel();
    let failed = move |error: &io::Error| told.send(error.kind()).unwrap();
    let writer = LineWriter::start("test", Output::File(path.clone()), 1 << 20, 1, failed).unwrap();
    writer.write(|line| line.extend_from_slice(b"before\n"));
    wait_until(|| std::fs::read(&path).unwrap() == b"before\n");
    std::fs::rename(&path, &rotated).unwrap();
    writer.reopen();
    wait_until(|| path.exists());
    writer.write(|line| line.extend_from_slice(b"after\n"));
    wait_until(|| std::fs::read(&path).unwrap() == b"after\n");
    assert_eq!(std::fs::read(&rotated).unwrap(), b"before\n");

    // If the path cannot be opened, the open file stays in use, and the failure is reported.
    std::fs::rename(&path, &rotated).unwrap();
    std::fs::create_dir(&path).unwrap();
    writer.reopen();
    assert_eq!(failures.recv_timeout(PATIENCE).unwrap(), ErrorKind::IsADirectory);
    writer.write(|line| line.extend_from_slice(b"still\n"));
    assert!(writer.close(PATIENCE));
    assert_eq!(std::fs::read(&rotated).unwrap(), b"after\nstill\n");
}

#[test]
fn close_gives_up_at_its_deadline() {
    let (open, gate) = mpsc::channel();
    let (entered, inside) = mpsc::channel();
    let output = Gate { open: gate, entered, written: Arc::default() };
    let writer = LineWriter::start("test", Output::Other(Box::new(output)), 1, 1, ignore).unwrap();
    writer.write(|line| line.extend_from_slice(b"stuck\n"));
    inside.recv_timeout(PATIENCE).unwrap();
    assert!(!writer.close(Duration::from_millis(1)));
    drop(open);
    assert!(writer.close(PATIENCE));
}

#[test]
fn an_output_that_takes_nothing_any_more_has_accepted_nothing() {
    struct Closed;
    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let writer = LineWriter::start("test", Output::Other(Box::new(Closed)), 1, 1, ignore).unwrap();
    for _ in 0..3 {
        writer.write(|line| line.extend_from_slice(b"a line\n"));
    }
    assert!(writer.close(PATIENCE));
    assert_eq!((writer.accepted(), writer.dropped()), (0, 3));
}

#[test]
fn a_failing_output_counts_lost_lines_and_never_joins_two() {
    /// Takes five bytes, fails once, then takes all.
    struct Failing(u32, Arc<Mutex<Vec<u8>>>);
    impl Write for Failing {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 += 1;
            let taken = match self.0 {
                1 => bytes.len().min(5),
                2 => return Err(ErrorKind::StorageFull.into()),
                _ => bytes.len(),
            };
            self.1.lock().unwrap().extend_from_slice(&bytes[..taken]);
            Ok(taken)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let written = Arc::new(Mutex::new(Vec::new()));
    let (told, failures) = mpsc::channel();
    let output = Output::Other(Box::new(Failing(0, Arc::clone(&written))));
    let writer =
        LineWriter::start("test", output, 1, 1, move |error: &io::Error| told.send(error.kind()).unwrap()).unwrap();
    writer.write(|line| line.extend_from_slice(b"one\ntwo\n"));
    assert_eq!(failures.recv_timeout(PATIENCE).unwrap(), ErrorKind::StorageFull);
    wait_until(|| writer.dropped() == 1);
    writer.write(|line| line.extend_from_slice(b"three\n"));
    assert!(writer.close(PATIENCE));
    assert_eq!(written.lock().unwrap().as_slice(), b"one\nt\nthree\n");
    assert_eq!((writer.accepted(), writer.dropped()), (2, 1), "each is counted once");
}

/// Yields until a condition holds; the test fails if it never does.
fn wait_until(reached: impl Fn() -> bool) {
    let start = std::time::Instant::now();
    while !reached() {
        assert!(start.elapsed() < PATIENCE, "the awaited state never came");
        thread::yield_now();
    }
}
