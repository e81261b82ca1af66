//! Which user owns the other end of a loopback connection (Linux: `/proc/net/tcp`, see `proc_net_tcp(5)`).
//!
//! Other users can read a one-time code in the arguments of a browser that starts, and could redeem it
//! first. So a code is accepted only from the hub's own user and root.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};

/// The two ends of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ends {
    /// The address of the hub.
    pub(super) local: SocketAddr,
    /// The address of the client.
    pub(super) peer: SocketAddr,
}

/// Returns whether the client is known to be another user. A client on another machine, or on a system
/// without the table, is unknown.
pub(super) fn is_another_user(ends: Ends) -> bool {
    owner(ends).is_some_and(|uid| uid != 0 && uid != rustix::process::geteuid().as_raw())
}

fn owner(ends: Ends) -> Option<u32> {
    let (local, peer) = (canonical(ends.local), canonical(ends.peer));
    if !peer.ip().is_loopback() {
        return None;
    }
    let table = match peer {
        SocketAddr::V4(_) => "/proc/net/tcp",
        SocketAddr::V6(_) => "/proc/net/tcp6",
    };
    owner_in(&std::fs::read_to_string(table).ok()?, peer, local)
}

/// Returns the user of the socket at `local` that is connected to `remote`.
fn owner_in(table: &str, local: SocketAddr, remote: SocketAddr) -> Option<u32> {
    let (local, remote) = (entry(local), entry(remote));
    table.lines().skip(1).find_map(|line| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let is_this = fields.get(1) == Some(&local.as_str()) && fields.get(2) == Some(&remote.as_str());
        is_this.then(|| fields.get(7)?.parse().ok())?
    })
}

/// Returns the address as IPv4 if it is IPv4 mapped to IPv6: the client's socket is an IPv4 one.
fn canonical(address: SocketAddr) -> SocketAddr {
    (address.ip().to_canonical(), address.port()).into()
}

/// Returns the address as the table shows it: each 32-bit word in the byte order of the machine.
fn entry(address: SocketAddr) -> String {
    let bytes = match address.ip() {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    let mut text = String::new();
    for word in bytes.chunks_exact(4) {
        let word = u32::from_ne_bytes([word[0], word[1], word[2], word[3]]);
        // Writing to a String cannot fail.
        let _ = write!(text, "{word:08X}");
    }
    let _ = write!(text, ":{:04X}", address.port());
    text
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn finds_the_owner_of_a_client() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n   \
            0: 0100007F:12D4 0100007F:9C40 01 00000000:00000000 00:00000000 00000000     0        0 1 1 0 20 4 30 10 -1\n   \
            1: 0100007F:9C40 0100007F:12D4 01 00000000:00000000 00:00000000 00000000  1001        0 2 1 0 20 4 30 10 -1\n";
        let (hub, client) = ("127.0.0.1:4820".parse().unwrap(), "127.0.0.1:40000".parse().unwrap());
        if cfg!(target_endian = "little") {
            assert_eq!(owner_in(table, client, hub), Some(1001));
            assert_eq!(owner_in(table, hub, client), Some(0));
        }
        assert_eq!(owner_in(table, hub, "127.0.0.1:40001".parse().unwrap()), None);
        assert_eq!(owner_in("", client, hub), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn knows_its_own_connections() {
        for address in ["127.0.0.1:0", "[::1]:0", "[::]:0"] {
            let Ok(listener) = TcpListener::bind(address) else {
                // The machine has no IPv6.
                continue;
            };
            let port = listener.local_addr().unwrap().port();
            let host = if address == "[::1]:0" { "::1" } else { "127.0.0.1" };
            let _client = TcpStream::connect((host, port)).unwrap();
            let (stream, peer) = listener.accept().unwrap();
            let ends = Ends {
                local: stream.local_addr().unwrap(),
                peer,
            };
            assert_eq!(owner(ends), Some(rustix::process::geteuid().as_raw()), "{address}");
            assert!(!is_another_user(ends));
        }
    }
}
