//! nginx in front of the same server: one process, so that its memory is easily told.

use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};

use gatewright_tests::eventually;
use tempfile::TempDir;
use tokio::net::TcpStream;

use super::Target;

/// A running nginx, which ends when it is dropped.
pub struct Nginx {
    child: Child,
    target: Target,
    _directory: TempDir,
}

impl Nginx {
    pub async fn start(upstream: &str) -> Nginx {
        let directory = tempfile::tempdir().unwrap();
        let target = Target { http1: free(), http2: free() };
        let folder = directory.path().display();
        let paths =
            ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map(|it| format!("{it}_temp_path {folder}/{it};"));
        let text = format!(
            "daemon off; master_process off; pid {folder}/nginx.pid; error_log {folder}/error.log;
            worker_rlimit_nofile 16384;
            events {{ worker_connections 2048; }}
            http {{
                access_log off; {paths}
                upstream up {{ server {upstream}; keepalive 64; }}
                server {{
                    listen {}; listen {} http2;
                    location / {{ proxy_pass http://up; proxy_http_version 1.1; proxy_set_header Connection ''; }}
                }}
            }}",
            target.http1,
            target.http2,
            paths = paths.join(" "),
        );
        let config = directory.path().join("nginx.conf");
        std::fs::write(&config, text).unwrap();
        let path = format!("{}:/usr/sbin", std::env::var("PATH").unwrap_or_default());
        let program = std::env::split_paths(&path).map(|folder| folder.join("nginx")).find(|program| program.exists());
        let program = program.expect("nginx is missing: apt-get install nginx-light (`make test` does it)");
        let child = Command::new(program).arg("-c").arg(&config).stderr(Stdio::null()).spawn().unwrap();
        let nginx = Nginx { child, target, _directory: directory };
        for address in [target.http1, target.http2] {
            eventually("nginx listens", async || TcpStream::connect(address).await.ok()).await;
        }
        nginx
    }

    pub fn target(&self) -> Target {
        self.target
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}
