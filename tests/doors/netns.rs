//! A network of two machines: this one, and another one at the end of a cable. Gone when dropped.

use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

/// The other machine, a network namespace. This machine is its default gateway.
pub struct Cable {
    name: String,
    third: u32,
}

impl Cable {
    /// `None` where this process may not make one.
    pub fn lay() -> Option<Cable> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let id = std::process::id();
        // Some address of the benchmarking network (RFC 2544) that no other test uses.
        let cable = Cable { name: format!("sh{id}x{count}"), third: (id * 4 + count) % 256 };
        let (name, here, there) = (&cable.name, cable.here(), cable.there());
        let script = format!(
            "ip netns add {name}\nip link add {name}a type veth peer name {name}b netns {name}\n\
             ip addr add {here}/24 dev {name}a\nip link set {name}a up\n\
             ip -n {name} addr add {there}/24 dev {name}b\nip -n {name} link set {name}b up\n\
             ip -n {name} link set lo up\nip -n {name} route add default via {here}"
        );
        let laid = Command::new("sh").args(["-ec", &script]).output();
        if laid.is_ok_and(|laid| laid.status.success()) {
            return Some(cable);
        }
        println!("SKIPPED: what needs a network namespace, since this process may not make one");
        None
    }

    /// The address of this machine.
    pub fn here(&self) -> String {
        format!("198.18.{}.1", self.third)
    }

    /// The address of the other one.
    pub fn there(&self) -> String {
        format!("198.18.{}.2", self.third)
    }

    /// What runs a program over there.
    pub fn over_there(&self) -> [&str; 4] {
        ["ip", "netns", "exec", &self.name]
    }

    /// What a client over there hears first.
    pub fn heard(&self, ip: &str, port: u16) -> String {
        let script = format!("exec 3<>/dev/tcp/{ip}/{port}; head -n1 <&3");
        let words = self.over_there();
        let said = Command::new(words[0]).args(&words[1..]).args(["bash", "-c", &script]).output().expect("it runs");
        String::from_utf8_lossy(&said.stdout).into_owned()
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "del", &self.name]).output();
        let _ = Command::new("ip").args(["link", "del", &format!("{}a", self.name)]).output();
    }
}
