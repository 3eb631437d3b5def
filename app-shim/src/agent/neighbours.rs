//! Other users of the user's machine: the loopback address is theirs, too. The kernel says whose a
//! connection's other end is (`/proc/net/tcp`, proc(5)).

use std::fs;
use std::net::{IpAddr, SocketAddr};

/// Whether the connection between these two is of a process that runs as `uid`, or as root. What cannot be
/// found out is no.
pub(super) fn is_own(peer: SocketAddr, own: SocketAddr, uid: u32) -> bool {
    // A socket for both versions of IP stands in the second table, whichever it uses.
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(|path| fs::read_to_string(path).unwrap_or_default());
    match tables.iter().find_map(|table| owner(table, peer, own)) {
        Some(owner) if owner == uid || owner == 0 => true,
        Some(owner) => {
            tracing::warn!("refused a connection of another user of this machine, uid {owner}");
            false
        }
        None => {
            tracing::warn!("refused a connection: /proc/net/tcp does not say whose it is");
            false
        }
    }
}

/// The owner of the socket at `local` that is connected to `remote`.
fn owner(table: &str, local: SocketAddr, remote: SocketAddr) -> Option<u32> {
    table.lines().skip(1).find_map(|line| {
        let mut columns = line.split_ascii_whitespace().skip(1);
        let fits = address(columns.next()?)? == local && address(columns.next()?)? == remote;
        // After them: state, queues, timer, retransmits, uid.
        columns.nth(4).filter(|_| fits)?.parse().ok()
    })
}

/// Words of the address in hexadecimal, each as this machine has it in memory, and the port.
fn address(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.split_once(':')?;
    let word = |index: usize| {
        let digits = ip.get(index * 8..index * 8 + 8)?;
        u32::from_str_radix(digits, 16).ok().map(u32::to_ne_bytes)
    };
    let ip = match ip.len() {
        8 => IpAddr::from(word(0)?),
        32 => {
            let words = [word(0)?, word(1)?, word(2)?, word(3)?];
            IpAddr::from(<[u8; 16]>::try_from(words.concat()).ok()?).to_canonical()
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, u16::from_str_radix(port, 16).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn the_kernel_knows_whose_a_connection_is() {
        for own in ["127.0.0.1:0", "[::1]:0"] {
            // A machine may have no IPv6.
            let Ok(listener) = TcpListener::bind(own) else { continue };
            let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let (peer, own) = (client.local_addr().unwrap(), listener.local_addr().unwrap());
            let uid = rustix::process::getuid().as_raw();
            assert!(is_own(peer, own, uid));
            assert_eq!(is_own(peer, own, uid + 1), uid == 0, "root is let in");
            assert!(!is_own(own, own, uid), "there is no such connection");
        }
    }

    #[cfg(target_endian = "little")]
    #[test]
    fn tables_as_the_kernel_writes_them() {
        let tcp = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n   \
            0: 0100007F:2120 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 1 1 0 100 0 0 10 0\n   \
            1: 0100007F:C350 0100007F:2120 01 00000000:00000000 00:00000000 00000000  1001        0 2 1 0 20 4 30 10 -1\n";
        let tcp6 = "  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n   \
            0: 0000000000000000FFFF00000100007F:C351 0000000000000000FFFF00000100007F:2120 01 00000000:00000000 00:00000000 00000000  1002        0 3\n   \
            1: 00000000000000000000000001000000:C350 00000000000000000000000001000000:2120 01 00000000:00000000 00:00000000 00000000  1003        0 4\n";
        let at = |text: &str| text.parse::<SocketAddr>().unwrap();
        let own = at("127.0.0.1:8480");
        assert_eq!(owner(tcp, at("127.0.0.1:50000"), own), Some(1001));
        assert_eq!(owner(tcp6, at("127.0.0.1:50001"), own), Some(1002));
        assert_eq!(owner(tcp6, at("[::1]:50000"), at("[::1]:8480")), Some(1003));
        assert_eq!(owner(tcp, at("127.0.0.1:50001"), own), None);
    }
}
