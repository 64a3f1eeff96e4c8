//! A network namespace behind a link whose packets can be dropped: what a pulled cable looks like to TCP. Needs root.

use std::process::{Command, Stdio};

use super::{free_port, skip};

/// The namespace and its link; both go with their owner.
pub(crate) struct Namespace {
    name: String,
    link: String,
    outer: String,
    inner: String,
}

impl Namespace {
    /// A fresh one, or `None` after saying loudly why `test` is skipped.
    pub(crate) fn new(test: &str) -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            skip(test, "a network namespace needs root");
            return None;
        }
        // A port of ours is a number no other test of the machine has: names and addresses come from it.
        let number = free_port();
        let subnet = u32::from(number - 20_000) * 4;
        let address =
            |host: u32| format!("10.213.{}.{}", (subnet + host) >> 8, (subnet + host) & 255);
        let namespace = Self {
            name: format!("atalaya{number}"),
            link: format!("ata{number}"),
            outer: address(1),
            inner: address(2),
        };
        // Left behind by a run that was killed.
        namespace.remove();
        match namespace.make() {
            Ok(()) => Some(namespace),
            Err(why) => {
                skip(test, &format!("no network namespace here: {why}"));
                None
            }
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Where servers inside are reached from outside.
    pub(crate) fn inner_address(&self) -> String {
        self.inner.clone()
    }

    /// Where servers outside are reached from inside.
    pub(crate) fn outer_address(&self) -> String {
        self.outer.clone()
    }

    /// A program inside the namespace `name`.
    pub(crate) fn command_in(name: &str, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", name, program]);
        command
    }

    /// Every packet on the link vanishes from now on; connections stay up on both sides, unaware.
    pub(crate) fn drop_packets(&self) {
        for chain in ["INPUT", "OUTPUT"] {
            let way = if chain == "INPUT" { "-i" } else { "-o" };
            self.inside(&["iptables", "-w", "-A", chain, way, "eth0", "-j", "DROP"])
                .expect("packets can be dropped");
        }
    }

    /// Packets pass again; what TCP still retransmits arrives.
    pub(crate) fn pass_packets(&self) {
        self.inside(&["iptables", "-w", "-F"]).expect("the rules can be flushed");
    }

    fn make(&self) -> Result<(), String> {
        run(&["ip", "netns", "add", &self.name])?;
        run(&[
            "ip", "link", "add", &self.link, "type", "veth", "peer", "name", "eth0", "netns",
            &self.name,
        ])?;
        run(&["ip", "addr", "add", &format!("{}/30", self.outer), "dev", &self.link])?;
        run(&["ip", "link", "set", &self.link, "up"])?;
        self.inside(&["ip", "link", "set", "lo", "up"])?;
        self.inside(&["ip", "addr", "add", &format!("{}/30", self.inner), "dev", "eth0"])?;
        self.inside(&["ip", "link", "set", "eth0", "up"])?;
        self.inside(&["iptables", "-w", "-L", "-n"])
    }

    fn inside(&self, words: &[&str]) -> Result<(), String> {
        run(&[&["ip", "netns", "exec", &self.name], words].concat())
    }

    fn remove(&self) {
        // Either may be gone already, which is what is wanted.
        let _ = run(&["ip", "link", "del", &self.link]);
        let _ = run(&["ip", "netns", "del", &self.name]);
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        self.remove();
    }
}

fn run(words: &[&str]) -> Result<(), String> {
    let output = Command::new(words[0]).args(&words[1..]).stdin(Stdio::null()).output();
    let output = output.map_err(|why| format!("{}: {why}", words[0]))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("`{}`: {}", words.join(" "), String::from_utf8_lossy(&output.stderr).trim()))
}
