//! `plugin run` and `plugin dev`: a gateway with just the plugin, real requests, and a trap that the author can read.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use crate::folder::Folder;

#[test]
fn a_saved_source_is_built_and_swapped_while_the_gateway_serves() {
    let folder = Folder::project("rust", "swinging-door");
    let running = Running::start(&folder, &["plugin", "dev", "--listen", "127.0.0.1:0"]);
    assert!(running.get("").starts_with("HTTP/1.1 403"));
    assert!(running.get("x-word: sesame\r\n").starts_with("HTTP/1.1 200"));

    let source = folder.read("src/lib.rs");
    folder.write("src/lib.rs", source.replace("the door stays shut", "come back tomorrow"));
    running.wait_for("configuration applied");
    assert!(running.get("").contains("come back tomorrow"));

    // A new file is a change as well, and so is a deleted one.
    folder.write("src/later.rs", "// nothing yet");
    running.wait_for("src/later.rs");
    running.wait_for("built");
    std::fs::remove_file(folder.path().join("src/later.rs")).unwrap();
    running.wait_for("src/later.rs");
    running.wait_for("built");

    // If a build fails, the running plugin stays.
    folder.write("src/lib.rs", "fn");
    running.wait_for("not built; what runs is as it was");
    assert!(running.get("").contains("come back tomorrow"));

    // A panic: the author sees where, the client sees nothing.
    folder.write("src/lib.rs", source.replace("headers.get(\"x-word\")", "(fall(), headers.get(\"x-word\")).1") + FALL);
    running.wait_for("configuration applied");
    let answer = running.get("");
    assert!(answer.starts_with("HTTP/1.1 500"), "{answer}");
    assert!(!answer.contains("lib.rs") && !answer.contains("fall"), "{answer}");
    for words in ["trapped in on-request", "fall", "src/lib.rs:", "on_request", "src/lib.rs:"] {
        running.wait_for(words);
    }
}

const FALL: &str = "\n#[inline(never)]\nfn fall() {\n    let none: Option<u32> = std::env::args().next().map(|_| 1);\n    none.unwrap();\n}\n";

#[test]
fn a_plugin_runs_before_a_given_upstream() {
    let upstream = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = upstream.local_addr().unwrap().to_string();
    let server = std::thread::spawn(move || {
        let (mut stream, _) = upstream.accept().unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nbehind").unwrap();
        String::from_utf8(head).unwrap()
    });
    let folder = Folder::project("js", "front-door");
    let running = Running::start(&folder, &["plugin", "run", "--listen", "127.0.0.1:0", "--upstream", &address]);
    assert!(running.get("").starts_with("HTTP/1.1 403"));
    let answer = running.get("x-word: sesame\r\n");
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("behind"), "{answer}");
    let seen = server.join().unwrap();
    assert!(seen.contains("x-door: open\r\n") && !seen.contains("x-word"), "{seen}");

    folder.run(&["plugin", "run", "--upstream", "https://a.test"]).bad().says("not over https");
    folder.run(&["plugin", "run", "--listen", "nowhere"]).bad().says("gateway.json:");
}

/// The binary with its log; killed when the test ends.
struct Running {
    child: Child,
    lines: Receiver<String>,
    address: String,
}

impl Running {
    fn start(folder: &Folder, arguments: &[&str]) -> Running {
        let mut child = folder.command(arguments).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let log = BufReader::new(child.stderr.take().unwrap());
        let (sender, lines) = channel();
        std::thread::spawn(move || log.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        let mut running = Running { child, lines, address: String::new() };
        let line = running.wait_for("listening");
        let at = line.find("127.0.0.1:").expect("the address is in the line");
        running.address = line[at..].split(|c: char| c.is_whitespace() || c == '"').next().unwrap().to_owned();
        running
    }

    /// The next line of the log with these words. A first build takes a while.
    fn wait_for(&self, words: &str) -> String {
        let deadline = Instant::now() + Duration::from_secs(600);
        let mut seen = String::new();
        loop {
            let line = self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now()));
            let line = line.unwrap_or_else(|error| panic!("{words:?} did not come ({error}):\n{seen}"));
            if line.contains(words) {
                return line;
            }
            seen.push_str(&line);
            seen.push('\n');
        }
    }

    fn get(&self, headers: &str) -> String {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        write!(stream, "GET / HTTP/1.1\r\nhost: a.test\r\n{headers}connection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
