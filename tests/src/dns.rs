//! A DNS server for tests: answers by a table that can change, fails, is slow, or truncates, over UDP and TCP.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket};
use tokio::task::JoinHandle;

/// See the module. It ends when it is dropped.
pub struct Dns {
    address: SocketAddr,
    table: Arc<Mutex<Table>>,
    tasks: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Table {
    records: BTreeMap<String, Vec<Record>>,
    ttl: u32,
    mood: Mood,
    /// Names that were asked for, with "udp" or "tcp" before.
    asked: Vec<String>,
}

/// How it answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mood {
    #[default]
    Well,
    /// SERVFAIL.
    Failing,
    /// Not at all.
    Silent,
    /// Over UDP, only that the answer is too long for UDP.
    Truncating,
}

/// What a name stands for.
#[derive(Clone, Debug)]
pub enum Record {
    Address(IpAddr),
    Service { priority: u16, weight: u16, port: u16, target: String },
}

impl Dns {
    /// One that knows no name.
    pub async fn start() -> Dns {
        // The same port for both; another socket may have it for one of them.
        let (udp, tcp) = loop {
            let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            if let Ok(tcp) = TcpListener::bind(udp.local_addr().unwrap()).await {
                break (udp, tcp);
            }
        };
        let address = udp.local_addr().unwrap();
        let table = Arc::new(Mutex::new(Table { ttl: 1, ..Table::default() }));
        let tasks = vec![tokio::spawn(serve_udp(udp, table.clone())), tokio::spawn(serve_tcp(tcp, table.clone()))];
        Dns { address, table, tasks }
    }

    pub fn text(&self) -> String {
        self.address.to_string()
    }

    /// The name stands for these from now on.
    pub fn set(&self, name: &str, records: Vec<Record>) {
        self.table.lock().unwrap().records.insert(name.to_owned(), records);
    }

    pub fn set_addresses(&self, name: &str, addresses: &[&str]) {
        self.set(name, addresses.iter().map(|address| Record::Address(address.parse().unwrap())).collect());
    }

    pub fn set_mood(&self, mood: Mood) {
        self.table.lock().unwrap().mood = mood;
    }

    /// Names that were asked for, each with "udp " or "tcp " before it.
    pub fn asked(&self) -> Vec<String> {
        self.table.lock().unwrap().asked.clone()
    }
}

impl Drop for Dns {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

async fn serve_udp(socket: UdpSocket, table: Arc<Mutex<Table>>) {
    let mut buffer = [0; 4096];
    while let Ok((length, peer)) = socket.recv_from(&mut buffer).await {
        let answer = table.lock().unwrap().answer(&buffer[..length], "udp");
        if let Some(answer) = answer {
            let _ = socket.send_to(&answer, peer).await;
        }
    }
}

async fn serve_tcp(listener: TcpListener, table: Arc<Mutex<Table>>) {
    while let Ok((mut stream, _)) = listener.accept().await {
        let table = table.clone();
        tokio::spawn(async move {
            while let Ok(length) = stream.read_u16().await {
                let mut query = vec![0; length.into()];
                if stream.read_exact(&mut query).await.is_err() {
                    return;
                }
                let answer = table.lock().unwrap().answer(&query, "tcp");
                if let Some(answer) = answer {
                    let mut framed = u16::try_from(answer.len()).unwrap().to_be_bytes().to_vec();
                    framed.extend(answer);
                    let _ = stream.write_all(&framed).await;
                }
            }
        });
    }
}

impl Table {
    fn answer(&mut self, query: &[u8], over: &str) -> Option<Vec<u8>> {
        let (name, kind, question) = read_question(query)?;
        self.asked.push(format!("{over} {name}"));
        let known = self.records.get(&name);
        let truncated = self.mood == Mood::Truncating && over == "udp";
        let (code, answers): (u16, Vec<Vec<u8>>) = match (self.mood, known) {
            (Mood::Silent, _) => return None,
            (Mood::Failing, _) => (2, Vec::new()),
            (_, None) => (3, Vec::new()),
            (_, Some(_)) if truncated => (0, Vec::new()),
            (_, Some(records)) => (0, records.iter().filter_map(|record| record.data(kind)).collect()),
        };
        let mut message = query[..2].to_vec();
        // A response, authoritative, with recursion.
        let flags = 0x8580 | code | if truncated { 0x0200 } else { 0 };
        for number in [flags, 1, u16::try_from(answers.len()).unwrap(), 0, 0] {
            message.extend(number.to_be_bytes());
        }
        message.extend(question);
        for data in answers {
            // The name of the question, by a pointer.
            message.extend([0xc0, 12]);
            message.extend(kind.to_be_bytes());
            message.extend(1u16.to_be_bytes());
            message.extend(self.ttl.to_be_bytes());
            message.extend(u16::try_from(data.len()).unwrap().to_be_bytes());
            message.extend(data);
        }
        Some(message)
    }
}

impl Record {
    fn data(&self, kind: u16) -> Option<Vec<u8>> {
        match (self, kind) {
            (Record::Address(IpAddr::V4(address)), A) => Some(address.octets().to_vec()),
            (Record::Address(IpAddr::V6(address)), AAAA) => Some(address.octets().to_vec()),
            (Record::Service { priority, weight, port, target }, SRV) => {
                let mut data = [priority, weight, port].map(|number| number.to_be_bytes()).concat();
                for label in target.split('.') {
                    data.push(u8::try_from(label.len()).unwrap());
                    data.extend(label.as_bytes());
                }
                data.push(0);
                Some(data)
            }
            _ => None,
        }
    }
}

const A: u16 = 1;
const AAAA: u16 = 28;
const SRV: u16 = 33;

/// The name in lower case, the type, and the question as it came, whose letters' case the answer has to repeat.
fn read_question(query: &[u8]) -> Option<(String, u16, &[u8])> {
    let mut at = 12;
    let mut labels = Vec::new();
    loop {
        let length = usize::from(*query.get(at)?);
        at += 1;
        if length == 0 {
            break;
        }
        labels.push(String::from_utf8_lossy(query.get(at..at + length)?).to_ascii_lowercase());
        at += length;
    }
    let kind = u16::from_be_bytes(query.get(at..at + 2)?.try_into().ok()?);
    Some((labels.join("."), kind, query.get(12..at + 4)?))
}
