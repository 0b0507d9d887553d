//! Whether we are in a container, and which way leads out of it. A published port makes strangers look like the gateway
//! (reliability-security.md, section 8), so the gateway is nobody's private network.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

/// Files that runtimes leave: Docker, and Podman.
const MARKS: [&str; 2] = ["/.dockerenv", "/run/.containerenv"];
/// What runtimes call the group of processes of a container.
const GROUPS: [&str; 5] = ["docker", "kubepods", "containerd", "libpod", "lxc"];

/// Whether this process is in a container, as far as one can tell from inside.
#[must_use]
pub fn is_around_us() -> bool {
    let has_mark = || MARKS.iter().any(|mark| Path::new(mark).exists());
    let has_group = || {
        let group = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        GROUPS.iter().any(|word| group.contains(word))
    };
    has_mark() || has_group()
}

/// The default gateways.
#[must_use]
pub fn gateways() -> Vec<IpAddr> {
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    let mut found = gateways_of(&read("/proc/net/route"), &read("/proc/net/ipv6_route"));
    found.sort();
    found.dedup();
    found
}

/// From the tables of the kernel, as proc(5) has them.
fn gateways_of(route: &str, ipv6_route: &str) -> Vec<IpAddr> {
    const GATEWAY: u32 = 2;
    let v4 = route.lines().filter_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let flags = u32::from_str_radix(words.get(3)?, 16).ok()?;
        // As the bytes lie in memory.
        let address = u32::from_str_radix(words.get(2)?, 16).ok()?.to_ne_bytes();
        let is_default = words.get(1) == Some(&"00000000") && words.get(7) == Some(&"00000000");
        (is_default && flags & GATEWAY != 0).then(|| IpAddr::V4(Ipv4Addr::from(address)))
    });
    let v6 = ipv6_route.lines().filter_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let flags = u32::from_str_radix(words.get(8)?, 16).ok()?;
        let address = u128::from_str_radix(words.get(4)?, 16).ok()?;
        let is_default = words.first()?.bytes().all(|byte| byte == b'0') && words.get(1) == Some(&"00");
        (is_default && flags & GATEWAY != 0).then(|| IpAddr::V6(Ipv6Addr::from(address)))
    });
    v4.chain(v6).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_endian = "little")]
    fn the_gateways_are_those_of_default_routes() {
        let route = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n\
                     eth0\t00000000\t010011AC\t0003\t0\t0\t0\t00000000\t0\t0\t0\n\
                     eth0\t000011AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0\n\
                     eth1\t0000000A\t020011AC\t0003\t0\t0\t0\t000000FF\t0\t0\t0\n";
        let zero = "0".repeat(32);
        let near = "fe800000000000000000000000000001";
        let ipv6_route = format!(
            "{zero} 00 {zero} 00 {near} 00000400 00000001 00000000 00000003 eth0\n\
             fd000000000000000000000000000000 40 {zero} 00 {zero} 00000100 00000001 00000000 00000001 eth0\n\
             {zero} 00 {zero} 00 {zero} ffffffff 00000001 00000000 00200200 lo\n"
        );
        let meant: Vec<IpAddr> = ["172.17.0.1", "fe80::1"].map(|ip| ip.parse().unwrap()).to_vec();
        assert_eq!(gateways_of(route, &ipv6_route), meant);
        assert!(gateways_of("nonsense\n\u{0}", "x y z").is_empty());
    }
}
