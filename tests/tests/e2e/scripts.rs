//! Runs programs in other languages; what they need is made ready by `deploy/`.

use std::process::Command;
use trefoil_tests::programs::source;

/// What one of the scripts of `deploy/` says that it has made ready.
fn ready(script: &str) -> String {
    let found = Command::new(source().join("deploy").join(script)).output().unwrap();
    assert!(found.status.success(), "{script}: {}", String::from_utf8_lossy(&found.stderr));
    String::from_utf8(found.stdout).unwrap().trim().to_owned()
}

/// A Python program of the source tree, with the packages of `tests/python/requirements.txt`.
pub(crate) fn python(script: &str) -> Command {
    let mut command = Command::new(ready("python.sh"));
    command.arg("-B").arg(source().join(script));
    command
}

/// A Node.js program of the source tree, with the packages of `tests/node/package-lock.json`.
pub(crate) fn node(script: &str) -> Command {
    let mut command = Command::new("node");
    command.arg(source().join(script)).env("NODE_PATH", ready("node.sh") + "/node_modules");
    command
}

/// A class of `tests/java/`, with PostgreSQL's JDBC driver.
pub(crate) fn java(class: &str) -> Command {
    let mut command = Command::new("java");
    // It lives for a second: what makes a start fast.
    command.args(["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto"]);
    command.arg("-cp").arg(ready("java.sh")).arg(class);
    command
}

/// The program of `tests/go/`, with pgx.
pub(crate) fn go() -> Command {
    Command::new(ready("go.sh"))
}

/// What a program prints, with these variables in its environment; it must succeed.
pub(crate) fn output(command: &mut Command, environment: &[(&str, &str)]) -> String {
    let output = command.envs(environment.iter().copied()).env("TZ", "Europe/Berlin").output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}\n{said}\n{error}", output.status);
    said + &error
}
