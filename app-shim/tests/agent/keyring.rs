//! The user's share locked by the system's keyring: a real one, on a bus of its own.

use crate::agent::{issue, open};
use std::process::Command;

/// Unlocks a keyring, or makes one, runs the commands that are its arguments, and ends it.
const SESSION: &str = "printf password | gnome-keyring-daemon --foreground --components=secrets --unlock >/dev/null & \
    keyring=$!; \
    until dbus-send --print-reply --dest=org.freedesktop.DBus / org.freedesktop.DBus.ListNames | \
        grep -q org.freedesktop.secrets; do sleep 0.05; done; \
    sh -c \"$1\"; status=$?; kill $keyring; wait $keyring; exit $status";

#[test]
fn the_keyring_keeps_the_passphrase() {
    let directory = tempfile::tempdir().unwrap();
    issue(&directory.path().join("alice.json"));
    let run = |script: &str| {
        Command::new("timeout")
            .args(["60", "dbus-run-session", "--", "sh", "-c", SESSION, "sh", script])
            .current_dir(directory.path())
            .env("HOME", directory.path())
            .env("XDG_RUNTIME_DIR", directory.path())
            .env("SHIM", env!("CARGO_BIN_EXE_trefoil-shim"))
            .env_remove("XDG_DATA_HOME")
            .env_remove("TREFOIL_PASSPHRASE")
            .output()
            .unwrap()
    };
    let import = "$SHIM agent import --bundle alice.json --out alice.trefoil --work-factor 4 --keyring";
    let output = run(import);
    assert!(output.status.success(), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("locked by the keyring"), "{output:?}");
    // After the next login, and wherever the file is.
    let output = run("mv alice.trefoil moved.trefoil && $SHIM envelope --bundle moved.trefoil");
    assert_eq!(open(String::from_utf8(output.stdout).unwrap().trim()).sub, "alice");
    // A keyring that does not know the file: the user is asked, and there is no terminal here.
    let output = run("rm -r .local/share/keyrings/* && $SHIM envelope --bundle moved.trefoil");
    assert!(!output.status.success() && output.stdout.is_empty(), "{output:?}");
    // Without one, the same.
    let mut envelope = Command::new(env!("CARGO_BIN_EXE_trefoil-shim"));
    envelope.args(["envelope", "--bundle", "moved.trefoil"]).current_dir(directory.path());
    envelope.env("DBUS_SESSION_BUS_ADDRESS", "unix:path=/nonexistent").env_remove("TREFOIL_PASSPHRASE");
    let output = envelope.output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && said.contains("the system has no keyring"), "{said}");
}
