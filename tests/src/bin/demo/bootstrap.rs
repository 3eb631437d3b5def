//! The first scene: a proxy is made, hands its key over once, and serves users.

use crate::screen::Screen;
use std::fs;
use std::path::Path;
use trefoil_tests::endpoint::Endpoint;
use trefoil_tests::stack::{Ordered, ProxyOptions, Stack};
use trefoil_tests::tenant::Tenant;
use trefoil_tests::{Error, Result, programs};

/// Starts all parts, with sidecars that act for alice and bob.
pub(crate) fn play(dir: &Path, database: &Endpoint, screen: &mut Screen) -> Result<Stack> {
    let policy = programs::source().join("deploy/policy.toml");
    let policy = fs::read_to_string(&policy).map_err(|error| Error::at(&policy, &error))?;
    let options =
        ProxyOptions { policy: &policy, tenant: "clinic", database, recorder: None, configuration: "" };
    screen.title("A proxy is ordered, and hands the tenant's key over, once");
    screen.statement("$ trefoil-proxy init --tenant clinic --application clinic");
    let proxy = Ordered::proxy(dir, &options)?.start()?;
    screen.say(&format!("fingerprint {}…, and a one-time password", fingerprint(proxy.fingerprint())));
    let unready = database.through(proxy.port());
    let error = match unready.run("CREATE TABLE patients (id int, name text)") {
        Ok(_) => String::new(),
        Err(error) => error.to_string(),
    };
    screen.say(&format!("ERROR {error}"));
    screen.promise("before it has, protected tables are refused", error.contains("28000"));

    screen.statement("$ trefoil-admin bootstrap --url … --fingerprint …");
    screen.statement("$ trefoil-admin user add alice bob");
    let stack = Stack::around(dir, proxy, &["alice", "bob"], 2)?;
    screen.say("three shares: one with each user, one with the application, one with the proxy");
    let error = match Tenant::bootstrap(&dir.join("thief"), &stack.proxy) {
        Ok(_) => String::new(),
        Err(error) => error.to_string(),
    };
    screen.say(error.rsplit("trefoil-admin: ").next().unwrap_or_default().trim());
    let closed = error.contains("has finished the bootstrap");
    screen.promise("nobody gets the key a second time, the password in hand", closed);
    Ok(stack)
}

fn fingerprint(text: &str) -> String {
    text.chars().take(16).collect()
}
