//! The core brings no runtime, socket or TLS crate with it.

use std::process::Command;

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "asks cargo, outside the core itself"
)]
fn the_dependency_tree_has_no_runtime_socket_or_tls() {
    let output = Command::new(env!("CARGO"))
        .args([
            "tree",
            "--package",
            "shardwright-core",
            "--edges",
            "normal",
            "--all-features",
        ])
        .args(["--prefix", "none", "--format", "{p}", "--locked"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let tree = String::from_utf8(output.stdout).expect("cargo prints UTF-8");
    let crates: Vec<&str> = tree
        .lines()
        .filter_map(|line| line.split(' ').next())
        .collect();
    assert!(
        crates.contains(&"serde_json"),
        "the tree was not read: {tree}"
    );
    let banned = [
        "tokio",
        "async-std",
        "smol",
        "mio",
        "polling",
        "socket2",
        "rustls",
        "native-tls",
        "openssl",
        "ring",
        "tungstenite",
        "ureq",
        "rand",
        "fastrand",
        "getrandom",
        "futures-util",
        "tracing",
    ];
    for name in banned {
        assert!(!crates.contains(&name), "the core depends on {name}");
    }
}
