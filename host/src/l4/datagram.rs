//! A UDP socket for many clients that answers each from the address that it was asked at.
//!
//! A socket that listens on all addresses of the machine would answer from whichever address the route back has; a
//! client that sent to another one would not accept that as its answer. So the kernel is asked which address a datagram
//! came to (IP_PKTINFO, ip(7); IPV6_PKTINFO, RFC 3542), and told to send from there. A socket that listens on one
//! address needs none of it.
//!
//! Rejected: quinn-udp, which sets the socket up for QUIC (no fragments, so no long answers); nix, for what else it
//! turns on in `libc`.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsRawFd;

use socket2::{MaybeUninitSlice, MsgHdr, MsgHdrMut, SockAddr, SockRef};
use tokio::io::Interest;
use tokio::net::UdpSocket;

/// A UDP socket that knows the local address of each datagram. See the module.
pub(super) struct Socket {
    inner: UdpSocket,
    everywhere: bool,
}

/// A local address, with the interface if the address is link-local.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Local {
    ip: IpAddr,
    interface: u32,
}

/// A buffer for one datagram.
pub(super) struct Buffer(Box<[MaybeUninit<u8>]>);

impl Buffer {
    /// Room for any datagram.
    pub fn new() -> Self {
        Buffer(vec![MaybeUninit::new(0); MOST_BYTES].into_boxed_slice())
    }

    /// The first bytes.
    pub fn bytes(&self, length: usize) -> &[u8] {
        initialised(self.0.get(..length).unwrap_or_default())
    }
}

impl Socket {
    /// Adds a bound socket to the runtime that this is called on.
    pub fn new(socket: std::net::UdpSocket) -> io::Result<Self> {
        let local = socket.local_addr()?;
        let everywhere = local.ip().is_unspecified();
        if everywhere {
            tell_destinations(&socket, local.is_ipv4())?;
        }
        Ok(Socket { inner: UdpSocket::from_std(socket)?, everywhere })
    }

    /// The next datagram: its length, its sender, and its destination if the socket has several addresses.
    pub async fn receive(&self, buffer: &mut Buffer) -> io::Result<(usize, SocketAddr, Option<Local>)> {
        self.inner.async_io(Interest::READABLE, || receive(&self.inner, &mut buffer.0, self.everywhere)).await
    }

    /// Sends a datagram if the socket has room for it.
    pub fn try_send(&self, datagram: &[u8], to: SocketAddr, from: Option<Local>) -> io::Result<()> {
        match from {
            None => self.inner.try_send_to(datagram, to).map(drop),
            Some(from) => self.inner.try_io(Interest::WRITABLE, || send_from(&self.inner, datagram, to, from)),
        }
    }
}

fn receive(
    socket: &UdpSocket,
    buffer: &mut [MaybeUninit<u8>],
    everywhere: bool,
) -> io::Result<(usize, SocketAddr, Option<Local>)> {
    // Initialised with the longest address type, so that both families fit.
    let mut peer = SockAddr::from(SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)));
    let mut control = [MaybeUninit::new(0); CONTROL_BYTES];
    let mut parts = [MaybeUninitSlice::new(buffer)];
    let mut message = MsgHdrMut::new().with_addr(&mut peer).with_buffers(&mut parts);
    if everywhere {
        message = message.with_control(&mut control);
    }
    let length = SockRef::from(socket).recvmsg(&mut message, 0)?;
    let control_length = if everywhere { message.control_len() } else { 0 };
    let peer = peer.as_socket().ok_or(io::ErrorKind::InvalidData)?;
    Ok((length, peer, destination(initialised(&control).get(..control_length).unwrap_or_default())))
}

fn send_from(socket: &UdpSocket, datagram: &[u8], to: SocketAddr, from: Local) -> io::Result<()> {
    let (to, parts, control) = (SockAddr::from(to), [IoSlice::new(datagram)], source(from));
    let message = MsgHdr::new().with_addr(&to).with_buffers(&parts).with_control(&control);
    SockRef::from(socket).sendmsg(&message, 0).map(drop)
}

/// Reads the destination from control messages (cmsg(3)): each has a header with length, level and type, and its data.
fn destination(mut control: &[u8]) -> Option<Local> {
    loop {
        let length = usize::from_ne_bytes(*control.first_chunk()?);
        let (level, kind) = (int(control, LENGTH_BYTES)?, int(control, LENGTH_BYTES + INT_BYTES)?);
        let data = control.get(HEADER_BYTES..length)?;
        match (level, kind) {
            // struct in_pktinfo: the interface, the address to answer from, the address in the datagram.
            (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                let ip: [u8; 4] = *data.get(INT_BYTES..)?.first_chunk()?;
                return Some(Local { ip: Ipv4Addr::from(ip).into(), interface: 0 });
            }
            // struct in6_pktinfo: the address, the interface.
            (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                let ip = Ipv6Addr::from(*data.first_chunk::<16>()?);
                let interface = if ip.is_unicast_link_local() { int(data, 16)?.cast_unsigned() } else { 0 };
                return Some(Local { ip: ip.into(), interface });
            }
            _ => control = control.get(length.next_multiple_of(LENGTH_BYTES)..)?,
        }
    }
}

/// The control message with the source address for sending.
fn source(from: Local) -> Vec<u8> {
    let interface = from.interface.to_ne_bytes();
    let (level, kind, data) = match from.ip {
        // The third field is ignored.
        IpAddr::V4(ip) => (libc::IPPROTO_IP, libc::IP_PKTINFO, [interface, ip.octets(), [0; 4]].concat()),
        IpAddr::V6(ip) => (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, [&ip.octets()[..], &interface].concat()),
    };
    let mut control = (HEADER_BYTES + data.len()).to_ne_bytes().to_vec();
    control.extend(level.to_ne_bytes());
    control.extend(kind.to_ne_bytes());
    control.extend(data);
    control.resize(control.len().next_multiple_of(LENGTH_BYTES), 0);
    control
}

fn int(bytes: &[u8], at: usize) -> Option<i32> {
    Some(i32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// Makes the kernel report the destination address of each datagram.
#[allow(unsafe_code)]
fn tell_destinations(socket: &std::net::UdpSocket, is_ipv4: bool) -> io::Result<()> {
    let (level, option) = match is_ipv4 {
        true => (libc::IPPROTO_IP, libc::IP_PKTINFO),
        false => (libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO),
    };
    let on: libc::c_int = 1;
    let length = INT_BYTES as libc::socklen_t;
    // SAFETY: the kernel reads `length` bytes at the address, which is what `on` has, and keeps none of it.
    let done = unsafe { libc::setsockopt(socket.as_raw_fd(), level, option, (&raw const on).cast(), length) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The bytes of a buffer that was created initialised.
#[allow(unsafe_code)]
fn initialised(bytes: &[MaybeUninit<u8>]) -> &[u8] {
    // SAFETY: both buffers of this module are filled with zeros when they are created, and only the kernel writes to
    // them, which writes bytes.
    unsafe { bytes.assume_init_ref() }
}

/// More than the longest datagram, so that none is truncated.
const MOST_BYTES: usize = 64 << 10;

/// More than enough for what is requested.
const CONTROL_BYTES: usize = 128;

/// struct cmsghdr, on Linux: a length that includes the header, and two integers.
const LENGTH_BYTES: usize = size_of::<usize>();
const INT_BYTES: usize = size_of::<libc::c_int>();
const HEADER_BYTES: usize = LENGTH_BYTES + 2 * INT_BYTES;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        for (ip, interface) in [("192.0.2.7", 0), ("2001:db8::7", 0), ("fe80::7", 3)] {
            let local = Local { ip: ip.parse().unwrap(), interface };
            let control = source(local);
            assert_eq!(destination(&control), Some(local), "{ip}");
            // After another message, such as a timestamp.
            let mut other = (HEADER_BYTES + 5).to_ne_bytes().to_vec();
            other.extend([1i32.to_ne_bytes(), 29i32.to_ne_bytes(), [9; 4], [9; 4]].concat());
            other.extend(&control);
            assert_eq!(destination(&other), Some(local), "{ip}");
            for end in 0..HEADER_BYTES + 8 {
                assert_eq!(destination(&control[..end]), None, "{ip}, {end} bytes");
            }
        }
        assert_eq!(destination(&[0; 64]), None);
        assert_eq!(destination(&[0xff; 64]), None);
    }
}
