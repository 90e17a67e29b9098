//! The life of a TCP connection, top to bottom.

use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::client_hello::{self, HelloError};
use super::record::Record;
use super::relay::{Relay, Stream};
use super::{Ends, Forward, Route, Targets, patience_ends};
use crate::drain::Drain;
use crate::telemetry::{self, AccessLog, Level, Outcome};

/// Forwards one connection until it ends. During a drain it continues, at most for the drain time.
pub async fn serve<C: Stream>(client: C, ends: Ends, forward: Arc<Forward>, access_log: Arc<AccessLog>, drain: Drain) {
    let protocol = if matches!(forward.route, Route::ServerName(_)) { "tls" } else { "tcp" };
    let mut record = Record::begin(access_log, forward.clone(), protocol, ends);
    tokio::select! {
        biased;
        () = carry(client, &forward, &mut record) => {}
        () = patience_ends(&drain, forward.drain_timeout) => record.ended(Outcome::ShutDown),
    }
}

async fn carry<C: Stream>(mut client: C, forward: &Forward, record: &mut Record) {
    let (targets, first) = match &forward.route {
        Route::To(targets) => (Some(targets), Vec::new()),
        Route::ServerName(_) => match read_hello(&mut client, forward, record).await {
            Some(read) => read,
            None => return,
        },
    };
    let Some(upstream) = targets.and_then(Targets::pick) else {
        let _ = client.write_all(UNRECOGNIZED_NAME).await;
        let _ = client.shutdown().await;
        return record.failed(Outcome::Refused, "no entry takes the server name".to_owned());
    };
    record.upstream = Some(upstream.name().clone());
    let (ask, header) = (upstream.ask_of_connection(record.ends().client.ip()), record.ends().header());
    let tunnel = match upstream.connect(&ask, header, &mut record.facts).await {
        Ok(tunnel) => tunnel,
        Err(error) => {
            // The client sees what it would see without a gateway: no connection.
            client.abort();
            let fields: telemetry::Fields<'_> = &[("listener", &forward.listener), ("error", &error)];
            telemetry::log(Level::Warn, "a connection could not be forwarded", fields);
            return record.failed(Outcome::UpstreamFailed, error.to_string());
        }
    };
    record.moved(first.len() as u64, 0);
    let relay = Relay::new(client, tunnel.stream, first);
    let end = relay.run(forward.idle_timeout, |received, sent| record.moved(received, sent)).await;
    record.relayed(&end);
    drop(tunnel.place);
}

/// Reads the client's first TLS message. Returns the targets for its server name, if there are any, and the bytes read.
async fn read_hello<'f, C: Stream>(
    client: &mut C,
    forward: &'f Forward,
    record: &mut Record,
) -> Option<(Option<&'f Targets>, Vec<u8>)> {
    let Route::ServerName(names) = &forward.route else { return None };
    let mut reader = client_hello::Reader::default();
    let read = async {
        let mut piece = Vec::with_capacity(FIRST_READ_BYTES);
        loop {
            piece.clear();
            match client.read_buf(&mut piece).await {
                Ok(1..) => {}
                Ok(0) => return Err(Unread::Left("the client closed before its ClientHello".to_owned())),
                Err(error) => return Err(Unread::Left(error.to_string())),
            }
            if let Some(hello) = reader.push(&piece).map_err(Unread::Bad)? {
                return Ok(hello);
            }
        }
    };
    match tokio::time::timeout(forward.hello_timeout, read).await {
        Ok(Ok(hello)) => {
            record.server_name = hello.server_name;
            Some((names.find(record.server_name.as_deref()), reader.into_bytes()))
        }
        Ok(Err(Unread::Left(error))) => {
            record.failed(Outcome::ClientLeft, error);
            None
        }
        Ok(Err(Unread::Bad(error))) => {
            record.failed(Outcome::Refused, error.to_string());
            None
        }
        Err(_) => {
            let error = format!("no ClientHello within {:?}", forward.hello_timeout);
            record.failed(Outcome::TimedOut, error);
            None
        }
    }
}

enum Unread {
    Left(String),
    Bad(HelloError),
}

/// A fatal alert (RFC 8446, section 6; RFC 6066, section 3), as one record.
const UNRECOGNIZED_NAME: &[u8] = &[21, 3, 3, 0, 2, 2, 112];

/// One read of this size is enough for nearly every ClientHello.
const FIRST_READ_BYTES: usize = 4 << 10;
