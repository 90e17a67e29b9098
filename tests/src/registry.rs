//! An OCI registry of its own for each test.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// A running `docker-registry` that keeps what it has in a folder of its own. It ends with the test.
pub struct Registry {
    address: SocketAddr,
    folder: TempDir,
    process: Option<Child>,
}

impl Registry {
    /// Starts one on a free port, for everybody.
    pub fn start() -> Registry {
        Registry::with("")
    }

    /// One that only this user may use: a line of an htpasswd file, with bcrypt.
    pub fn for_user(htpasswd: &str) -> Registry {
        Registry::with(htpasswd)
    }

    fn with(htpasswd: &str) -> Registry {
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().display();
        let mut settings = format!(
            "version: 0.1\nlog: {{ level: error, accesslog: {{ disabled: true }} }}\n\
             storage: {{ filesystem: {{ rootdirectory: {path}/data }} }}\nhttp: {{ addr: \"{address}\" }}\n"
        );
        if !htpasswd.is_empty() {
            std::fs::write(folder.path().join("htpasswd"), htpasswd).unwrap();
            settings.push_str(&format!("auth: {{ htpasswd: {{ realm: test, path: {path}/htpasswd }} }}\n"));
        }
        std::fs::write(folder.path().join("config.yml"), settings).unwrap();
        let mut registry = Registry { address, folder, process: None };
        registry.start_again();
        registry
    }

    /// `host:port`, as references name it.
    pub fn host(&self) -> String {
        self.address.to_string()
    }

    /// Starts it where it was, with what it had.
    pub fn start_again(&mut self) {
        let mut command = Command::new("docker-registry");
        command.arg("serve").arg(self.folder.path().join("config.yml"));
        let started = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        self.process = Some(started.unwrap_or_else(|error| {
            panic!("docker-registry does not start ({error}); install it with: apt-get install docker-registry")
        }));
        let deadline = Instant::now() + Duration::from_secs(60);
        while TcpStream::connect(self.address).is_err() {
            assert!(Instant::now() < deadline, "docker-registry does not answer at {}", self.address);
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Ends it. What it has stays.
    pub fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    /// The file in which it keeps a blob.
    pub fn blob(&self, digest: &str) -> PathBuf {
        let hex = digest.trim_start_matches("sha256:");
        let blobs = self.folder.path().join("data/docker/registry/v2/blobs/sha256");
        blobs.join(&hex[..2]).join(hex).join("data")
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A pair of keys as `openssl` makes them, in a folder: `NAME.key` and `NAME.pub`.
pub fn key_pair(folder: &Path, name: &str) -> (PathBuf, PathBuf) {
    let (private, public) = (folder.join(format!("{name}.key")), folder.join(format!("{name}.pub")));
    let openssl = |arguments: &[&str], to: &Path| {
        let output = Command::new("openssl").args(arguments).arg("-out").arg(to).output();
        let output =
            output.unwrap_or_else(|error| panic!("openssl: {error}; install it with: apt-get install openssl"));
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    openssl(&["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"], &private);
    openssl(&["pkey", "-in", private.to_str().unwrap(), "-pubout"], &public);
    (private, public)
}
