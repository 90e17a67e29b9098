//! Connections for layer 4: one for each client, never pooled, carrying whatever the client sends.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use tokio::net::UdpSocket;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use super::endpoint::{Endpoint, InFlight};
use super::error::{Reason, SendError};
use super::members::{Members, Tried};
use super::socket::Socket;
use super::{Ask, Facts, Upstream, connect};
use crate::proxy_protocol::Header;

/// A connection to an endpoint, with its permit.
pub struct Tunnel {
    pub stream: Socket,
    /// Held while the connection is in use.
    pub place: Place,
}

/// Counts the connection at its endpoint until dropped.
pub struct Place {
    in_flight: InFlight<Arc<Endpoint>>,
    /// `None` for datagrams, which need no connection.
    _slot: Option<OwnedSemaphorePermit>,
}

impl Upstream {
    /// Connects to an endpoint, and on failure to another, until one accepts. Each is tried once, and at most
    /// [`MOST_ENDPOINTS`], so that the client's wait is bounded. If the endpoint expects a PROXY header, it is sent
    /// with `client`.
    pub async fn connect(&self, ask: &Ask, client: Header, facts: &mut Facts) -> Result<Tunnel, SendError> {
        let members = self.members.held();
        let mut tried = Tried::default();
        let mut reason = Reason::NoEndpoint;
        while let Some(endpoint) = self.next(&members, ask, &mut tried, facts) {
            match endpoint.tunnel(client).await {
                Ok((tunnel, connect_time)) => {
                    // For the endpoint's health, an accepted connection counts like a response.
                    self.answered(&endpoint, StatusCode::OK);
                    facts.connect_time = Some(connect_time);
                    return Ok(tunnel);
                }
                Err(failed) => {
                    endpoint.count_failure();
                    self.unanswered(&endpoint, &failed);
                    reason = failed;
                }
            }
        }
        Err(self.error(facts, reason))
    }

    /// Records that an endpoint refused what was sent through this place.
    pub fn refused(&self, place: &Place) {
        let endpoint = place.in_flight.endpoint();
        endpoint.count_failure();
        self.unanswered(endpoint, &Reason::Connect(io::ErrorKind::ConnectionRefused.into()));
    }

    /// A socket that sends datagrams to an endpoint and receives only from that endpoint.
    pub async fn connect_udp(&self, ask: &Ask, facts: &mut Facts) -> Result<(UdpSocket, Place), SendError> {
        let members = self.members.held();
        let mut tried = Tried::default();
        let mut reason = Reason::NoEndpoint;
        while let Some(endpoint) = self.next(&members, ask, &mut tried, facts) {
            match endpoint.udp_socket().await {
                Ok(socket) => return Ok((socket, endpoint.place(None))),
                Err(failed) => {
                    endpoint.count_failure();
                    reason = failed;
                }
            }
        }
        Err(self.error(facts, reason))
    }

    /// An endpoint that was not tried yet, if there is one and the limit allows it.
    fn next(&self, members: &Members, ask: &Ask, tried: &mut Tried, facts: &mut Facts) -> Option<Arc<Endpoint>> {
        if tried.len() >= MOST_ENDPOINTS {
            return None;
        }
        let (position, endpoint) = members.pick(&self.settings, ask, tried)?;
        // All have been tried.
        if tried.contains(position) {
            return None;
        }
        tried.add(position);
        facts.attempts = facts.attempts.saturating_add(1);
        facts.endpoint = Some(endpoint.address_text());
        Some(Arc::clone(endpoint))
    }
}

impl Endpoint {
    async fn tunnel(self: &Arc<Self>, client: Header) -> Result<(Tunnel, Duration), Reason> {
        let slot = self.try_slot().ok_or(Reason::Overloaded)?;
        let place = self.place(Some(slot));
        let started = Instant::now();
        let deadline = started + self.transport().connect_timeout;
        let connected = connect::open_for(self.address(), self.transport(), client, deadline).await;
        self.count_connect(connected.is_ok());
        Ok((Tunnel { stream: connected?, place }, started.elapsed()))
    }

    async fn udp_socket(self: &Arc<Self>) -> Result<UdpSocket, Reason> {
        let timeout = self.transport().connect_timeout;
        let open = async {
            let address = connect::resolve(self.address()).await?;
            let any: SocketAddr = match address {
                SocketAddr::V4(_) => (std::net::Ipv4Addr::UNSPECIFIED, 0).into(),
                SocketAddr::V6(_) => (std::net::Ipv6Addr::UNSPECIFIED, 0).into(),
            };
            let socket = UdpSocket::bind(any).await?;
            socket.connect(address).await?;
            Ok(socket)
        };
        match tokio::time::timeout(timeout, open).await {
            Ok(opened) => opened.map_err(Reason::Connect),
            Err(_) => Err(Reason::ConnectTimeout(timeout)),
        }
    }

    fn place(self: &Arc<Self>, slot: Option<OwnedSemaphorePermit>) -> Place {
        Place { in_flight: InFlight::begin(self).keep(), _slot: slot }
    }
}

/// With the default `connect_timeout`, a client waits for 16 s at most. Endpoints that refuse cost next to nothing.
const MOST_ENDPOINTS: usize = 8;
