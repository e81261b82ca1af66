//! Which user owns the other end of a loopback connection (Linux: `/proc/net/tcp`, see `proc_net_tcp(5)`).
//!
//! Other users can read a one-time code in the arguments of a browser that starts, and could redeem it
//! first. So a code is accepted only from the owner of the database, the hub's own user, and root.

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

/// Maximum times the tables are read: a read may miss a connection while others begin and end.
const ATTEMPTS: usize = 3;

/// Returns whether the client is a user other than `owner` (the owner of the database), the hub's own user
/// and root. A client on this machine that is in no table has closed its connection, and counts as another
/// user. A client on another machine is not checked, and none is without the tables.
pub(super) fn is_another_user(ends: Ends, owner: u32) -> bool {
    let own = [0, owner, rustix::process::geteuid().as_raw()];
    match user(ends) {
        Client::User(uid) => !own.contains(&uid),
        Client::NotFound => is_on_this_machine(ends),
        Client::Unknown => false,
    }
}

/// What the tables say about a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Client {
    User(u32),
    /// No table has an open socket of the client.
    NotFound,
    /// There are no tables.
    Unknown,
}

/// A connection between two addresses of this machine. Its client may have bound any of them, also one
/// that is not a loopback address.
fn is_on_this_machine(ends: Ends) -> bool {
    let (local, peer) = (ends.local.ip().to_canonical(), ends.peer.ip().to_canonical());
    local.is_loopback() || peer.is_loopback() || local == peer
}

fn user(ends: Ends) -> Client {
    let mut found = Client::Unknown;
    for _ in 0..ATTEMPTS {
        // An IPv6 socket with an IPv4 address is in the table of IPv6.
        for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
            let Ok(table) = std::fs::read_to_string(table) else {
                continue;
            };
            if let Some(uid) = user_in(&table, ends.peer, ends.local) {
                return Client::User(uid);
            }
            found = Client::NotFound;
        }
    }
    found
}

/// Returns the user of the open socket at `local` that is connected to `remote`.
fn user_in(table: &str, local: SocketAddr, remote: SocketAddr) -> Option<u32> {
    let (locals, remotes) = (entries(local), entries(remote));
    table.lines().skip(1).find_map(|line| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let is_this =
            |at: usize, entries: &[String]| fields.get(at).is_some_and(|field| entries.iter().any(|e| e == field));
        // A socket that was closed has no inode, and its user may be shown as 0.
        let is_open = fields.get(9).is_some_and(|inode| *inode != "0");
        (is_this(1, &locals) && is_this(2, &remotes) && is_open).then(|| fields.get(7)?.parse().ok())?
    })
}

/// Returns the address as the tables may show it: an IPv4 address also as the one mapped to IPv6.
fn entries(address: SocketAddr) -> Vec<String> {
    let ip = address.ip().to_canonical();
    let mapped = match ip {
        IpAddr::V4(ip) => Some(IpAddr::V6(ip.to_ipv6_mapped())),
        IpAddr::V6(_) => None,
    };
    let ips = std::iter::once(ip).chain(mapped);
    ips.map(|ip| entry((ip, address.port()).into())).collect()
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
    fn finds_the_user_of_an_open_client() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n   \
            0: 0100007F:12D4 0100007F:9C40 01 00000000:00000000 00:00000000 00000000     0        0 1 1 0 20 4 30 10 -1\n   \
            1: 0100007F:9C40 0100007F:12D4 01 00000000:00000000 00:00000000 00000000  1001        0 2 1 0 20 4 30 10 -1\n   \
            2: 0100007F:9C41 0100007F:12D4 05 00000000:00000000 03:00000000 00000000     0        0 0 3 0\n   \
            3: 0000000000000000FFFF00000100007F:9C42 0000000000000000FFFF00000100007F:12D4 01 00000000:00000000 \
               00:00000000 00000000  1002        0 3 1 0 20 4 30 10 -1\n";
        let address = |port: u16| SocketAddr::from(([127, 0, 0, 1], port));
        let of = |port| user_in(table, address(port), address(4820));
        if cfg!(target_endian = "little") {
            assert_eq!((of(40000), of(40002)), (Some(1001), Some(1002)));
            assert_eq!(user_in(table, address(4820), address(40000)), Some(0));
        }
        // The second one was closed.
        assert_eq!((of(40001), of(40003)), (None, None));
        assert_eq!(user_in("", address(40000), address(4820)), None);
    }

    #[test]
    fn a_client_between_addresses_of_this_machine_is_on_it() {
        for (local, peer, expected) in [
            ("127.0.0.1:4820", "127.0.0.1:40000", true),
            ("127.0.0.1:4820", "192.168.1.7:40000", true),
            ("[::ffff:127.0.0.1]:4820", "[::ffff:192.168.1.7]:40000", true),
            ("192.168.1.7:4820", "127.0.0.1:40000", true),
            ("192.168.1.7:4820", "192.168.1.7:40000", true),
            ("192.168.1.7:4820", "192.168.1.8:40000", false),
        ] {
            let ends = Ends {
                local: local.parse().unwrap(),
                peer: peer.parse().unwrap(),
            };
            assert_eq!(is_on_this_machine(ends), expected, "{local} {peer}");
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn knows_its_own_connections() {
        let own = rustix::process::geteuid().as_raw();
        for (address, client) in [
            ("127.0.0.1:0", "127.0.0.1"),
            ("127.0.0.1:0", "::ffff:127.0.0.1"),
            ("[::1]:0", "::1"),
            ("[::]:0", "127.0.0.1"),
        ] {
            let Ok(listener) = TcpListener::bind(address) else {
                // The machine has no IPv6.
                continue;
            };
            let port = listener.local_addr().unwrap().port();
            let client = TcpStream::connect((client, port)).unwrap();
            let (stream, peer) = listener.accept().unwrap();
            let ends = Ends {
                local: stream.local_addr().unwrap(),
                peer,
            };
            assert_eq!(user(ends), Client::User(own), "{address}");
            assert!(!is_another_user(ends, own));
            drop(client);
            assert_eq!(user(ends), Client::NotFound, "{address}");
            assert!(is_another_user(ends, own));
        }
    }
}
