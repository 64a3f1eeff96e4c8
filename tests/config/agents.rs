//! `[[agent]]`: clocks, entries for one and for many.

use atalaya::config::settings::Way;
use secrecy::ExposeSecret;

use super::{load, of_agent, seconds};

#[test]
fn either_clock_gives_the_other() {
    for (entry, interval, timeout) in [
        ("", 30, 90),
        ("interval = \"10s\"", 10, 30),
        ("timeout = \"60s\"", 20, 60),
        ("timeout = \"5m\"", 30, 300),
        ("interval = \"10m\"", 600, 1_800),
        ("interval = \"10m\"\ntimeout = \"11m\"", 600, 660),
        ("interval = \"5m\"\ntimeout = \"15m\"", 300, 900),
    ] {
        let loaded = load("", &format!("[[agent]]\nid = \"mary\"\n{entry}\n"), &[]);
        let spec = of_agent(&loaded.registry.wanted.watches[0]);
        assert_eq!((spec.interval, spec.timeout), (seconds(interval), seconds(timeout)), "{entry}");
    }
}

#[test]
fn an_agent_carries_all_that_its_entry_says_and_where_it_stands() {
    let registry = r#"[[receiver]]
id = "hook"
webhook = { url = "http://127.0.0.1:9/", secret = "hush", template = "slack", headers = { X-Key = "hush" } }

[[agent]]
id = "mary"
name = "Mary"
aliases = ["002"]
stall_after = "30m"
loop_after = 8
detector = "adaptive"
lease_max = "1h"
leave_max = "1m"
notify = ["hook"]
severity = { degraded = "critical" }
depends_on = ["source/http", "source/http"]
token = "hush"
"#;
    let loaded = load("", registry, &[]);
    let agent = &loaded.registry.wanted.watches[0];
    assert_eq!(agent.subject.origin.to_string(), "config/registry.toml:5");
    assert_eq!(agent.subject.notify.len(), 1);
    let parents = loaded.registry.wanted.desk.dependencies.of(&agent.subject.watch);
    assert_eq!(parents.map(|it| it.on.len()), Some(1));
    let spec = of_agent(agent);
    assert_eq!(spec.stall_after, Some(seconds(1_800)));
    assert_eq!((spec.lease_max, spec.leave_max), (seconds(3_600), seconds(60)));
    assert_eq!(loaded.registry.wanted.index().declared("002"), Some(agent));
    let mary = "mary".parse().expect("a name");
    assert_eq!(loaded.registry.agent_tokens[&mary].expose_secret(), "hush");
    let hook = &loaded.registry.receivers[0];
    let Way::Webhook { secret, .. } = &hook.way else { panic!("{hook:?}") };
    assert_eq!(secret.as_ref().expect("a secret").expose_secret(), "hush");
    assert!(!hook.human);
    assert!(!format!("{loaded:?}").contains("hush"), "a secret is printed");
    let other = load("", &registry.replace("secret = \"hush\"", "secret = \"other\""), &[]);
    assert_ne!(other.registry.receivers[0].fingerprint(), hook.fingerprint());
    assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
}

#[test]
fn of_two_patterns_the_one_with_the_longer_literal_rules() {
    let registry = r#"auto_register_max = 7
[[agent]]
id = "w*"
timeout = "1m"
[[agent]]
id = "worker-*"
timeout = "2m"
severity = { down = "warning" }
[[agent]]
id = "worker-7"
timeout = "3m"
[[agent]]
id = "*-eu"
"#;
    let wanted = load("", registry, &[]).registry.wanted;
    assert_eq!((wanted.watches.len(), wanted.undeclared_max), (1, 7));
    assert_eq!(wanted.longest_interval(), Some(seconds(30)));
    for (name, found) in [
        ("worker-1", Some((5, 120))),
        ("worker-1-eu", Some((5, 120))),
        ("wally", Some((2, 60))),
        ("x-eu", Some((12, 90))),
        ("mary", None),
    ] {
        let agent = wanted.undeclared(&name.parse().expect("a name"));
        let shown = agent.as_ref().map(|it| (it.subject.origin.to_string(), of_agent(it).timeout));
        let expected =
            found.map(|(line, timeout)| (format!("config/registry.toml:{line}"), seconds(timeout)));
        assert_eq!(shown, expected, "{name}");
    }
}
