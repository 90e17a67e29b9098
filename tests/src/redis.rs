//! A Redis server of its own for each test.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::wait::PATIENCE;
use crate::{Authority, Issued};

/// A running `redis-server` that keeps nothing on disk. It ends with the test.
pub struct Redis {
    address: SocketAddr,
    /// Where it speaks TLS, with its files.
    tls: Option<(SocketAddr, TempDir)>,
    process: Option<Child>,
}

impl Redis {
    /// Starts one on a free port.
    pub fn start() -> Redis {
        let mut redis = Redis { address: free_address(), tls: None, process: None };
        redis.start_again();
        redis
    }

    /// Starts one that speaks TLS as well, with this certificate, with clients that show one of the authority's.
    pub fn start_with_tls(shows: &Issued, clients: &Authority) -> Redis {
        let files = tempfile::tempdir().unwrap();
        shows.write(files.path(), "server");
        std::fs::write(files.path().join("clients.pem"), clients.pem()).unwrap();
        let mut redis = Redis { address: free_address(), tls: Some((free_address(), files)), process: None };
        redis.start_again();
        redis
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// As a store of a configuration names it.
    pub fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    /// The same over TLS.
    pub fn tls_url(&self) -> String {
        format!("rediss://localhost:{}", self.tls.as_ref().unwrap().0.port())
    }

    /// Starts it where it was, empty, and waits until it answers.
    pub fn start_again(&mut self) {
        let port = self.address.port().to_string();
        let mut command = Command::new("redis-server");
        command.args(["--port", &port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]);
        if let Some((address, files)) = &self.tls {
            command.args(["--tls-port", &address.port().to_string()]);
            for (option, file) in
                [("cert-file", "server.pem"), ("key-file", "server.key"), ("ca-cert-file", "clients.pem")]
            {
                command.arg(format!("--tls-{option}")).arg(files.path().join(file));
            }
        }
        let started = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        self.process = Some(started.unwrap_or_else(|error| {
            panic!("redis-server does not start ({error}); install it with: apt-get install redis-server")
        }));
        let deadline = Instant::now() + PATIENCE;
        while !self.answers() {
            assert!(Instant::now() < deadline, "redis-server does not answer at {}", self.address);
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Ends it at once, with all that it knows.
    pub fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    /// Its sockets stay open, and nobody answers.
    pub fn hang(&self) {
        self.signal("-STOP");
    }

    pub fn go_on(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        let id = self.process.as_ref().unwrap().id().to_string();
        assert!(Command::new("kill").args([signal, &id]).status().unwrap().success());
    }

    fn answers(&self) -> bool {
        let asked = TcpStream::connect(self.address).and_then(|mut stream| {
            stream.set_read_timeout(Some(Duration::from_secs(1)))?;
            stream.write_all(b"PING\r\n")?;
            let mut answer = [0; 5];
            stream.read_exact(&mut answer).map(|()| &answer == b"+PONG")
        });
        asked.unwrap_or(false)
    }

    /// Sends a command in words and gives the lines of its answer, without their types.
    pub fn command(&self, words: &str) -> Vec<String> {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(format!("{words}\r\n").as_bytes()).unwrap();
        let mut lines = BufReader::new(stream).lines().map(Result::unwrap);
        let mut line = || lines.next().unwrap();
        let first = line();
        match first.split_at(1) {
            ("*", count) => (0..count.parse::<usize>().unwrap())
                .map(|_| if line().starts_with('$') { line() } else { String::new() })
                .collect(),
            ("$", "-1") => Vec::new(),
            ("$", length) => {
                let (mut left, mut told) = (length.parse::<usize>().unwrap(), Vec::new());
                while left > 0 {
                    told.push(line());
                    left = left.saturating_sub(told[told.len() - 1].len() + 2);
                }
                told
            }
            (_, rest) => vec![rest.to_owned()],
        }
    }
}

fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.stop();
    }
}
