//! What lies in `deploy/`: units, example configurations, and what the images are made of.

use crate::shared::{cluster, shared};
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;
use trefoil_tests::cluster::free_port;
use trefoil_tests::frontend::Frontend;
use trefoil_tests::leash::Leash;
use trefoil_tests::programs::{program, source};

/// The account of the images.
const NOBODY: u32 = 65_534;

fn deploy(name: &str) -> PathBuf {
    source().join("deploy").join(name)
}

fn succeeded(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}

/// A program, with these keys of its example configuration where a test can write.
fn by_example(name: &str, example: &str, directory: &Path) -> Command {
    let mut command = Command::new(program(name).unwrap());
    command
        .env("TREFOIL_CONFIG", deploy(example))
        .env("TREFOIL_STATE", directory.join(example).with_extension("state"))
        .env("TREFOIL_LOCK_KEY_FILE", directory.join(example).with_extension("lock"))
        .env("TREFOIL_POLICY", deploy("policy.toml"));
    command
}

#[test]
fn the_example_configurations_are_taken_by_the_programs() {
    let directory = tempfile::tempdir().unwrap();
    let proxy = || by_example("trefoil-proxy", "proxy.toml", directory.path());
    let names = ["init", "--tenant", "clinic", "--application", "clinic-app"];
    succeeded(&proxy().args(names).output().unwrap());
    let checked = succeeded(&proxy().arg("--check").output().unwrap());
    assert!(checked.contains("valid"), "{checked}");
    if trefoil_keys::privileges::is_root() {
        // As systemd shows a credential: an ACL's mask in the place of the group's permissions.
        let lock = directory.path().join("proxy.lock");
        fs::set_permissions(&lock, fs::Permissions::from_mode(0o440)).unwrap();
        assert!(!proxy().arg("--check").output().unwrap().status.success());
        succeeded(&proxy().arg("--check").env("CREDENTIALS_DIRECTORY", directory.path()).output().unwrap());
    }
    // It asks the proxy for its keys: that of all tests.
    let other = &shared().proxy;
    let shim = || {
        let mut command = by_example("trefoil-shim", "shim.toml", directory.path());
        command
            .env("TREFOIL_PROXY_ADMIN_URL", other.admin_url())
            .env("TREFOIL_PROXY_ADMIN_FINGERPRINT", other.fingerprint());
        command
    };
    succeeded(&shim().arg("init").output().unwrap());
    let checked = succeeded(&shim().args(["sidecar", "--check"]).output().unwrap());
    assert!(checked.contains("valid"), "{checked}");
}

#[test]
fn the_units_are_understood_and_leave_little_exposed() {
    if Command::new("systemd-analyze").arg("--version").output().is_err() {
        eprintln!("no systemd-analyze here: the units are not looked at");
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    // Exposure from 0 to 100; for a user's unit less can be taken away.
    for (name, threshold) in
        [("trefoil-proxy", "15"), ("trefoil-shim-sidecar", "15"), ("trefoil-shim-agent", "55")]
    {
        let unit = fs::read_to_string(deploy(&format!("{name}.service"))).unwrap();
        for needed in ["LimitCORE=0", "NoNewPrivileges=yes", "MemoryDenyWriteExecute=yes", "memfd_secret"] {
            assert!(unit.contains(needed), "{name}: {needed}");
        }
        // The programs are not where a package would have put them.
        let binary = program(if name == "trefoil-proxy" { "trefoil-proxy" } else { "trefoil-shim" }).unwrap();
        let program = unit.lines().find_map(|line| line.strip_prefix("ExecStart=")).unwrap();
        let program = program.split(' ').next().unwrap();
        let file = directory.path().join(format!("{name}.service"));
        fs::write(&file, unit.replace(program, binary.to_str().unwrap())).unwrap();
        let user = if name == "trefoil-shim-agent" { "--user" } else { "--system" };
        let verified =
            Command::new("systemd-analyze").args([user, "--man=no", "verify"]).arg(&file).output().unwrap();
        let said = String::from_utf8_lossy(&verified.stderr).into_owned();
        let own: Vec<&str> = said.lines().filter(|line| line.contains(name)).collect();
        assert!(own.is_empty(), "{own:?}");
        let security = ["security", "--offline=true", "--no-pager", "--threshold", threshold];
        succeeded(&Command::new("systemd-analyze").args(security).arg(&file).output().unwrap());
    }
}

/// An empty root with the program and exactly the libraries that it is linked with, as an image has it.
fn root_with(binary: &Path, root: &Path) {
    for directory in ["usr/bin", "proc", "files"] {
        fs::create_dir_all(root.join(directory)).unwrap();
    }
    fs::copy(binary, root.join("usr/bin").join(binary.file_name().unwrap())).unwrap();
    let libraries = succeeded(&Command::new("ldd").arg(binary).output().unwrap());
    for library in libraries.split_whitespace().filter(|word| word.starts_with('/')) {
        let place = root.join(library.trim_start_matches('/'));
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        fs::copy(library, place).unwrap();
    }
}

/// What a container's engine does: a read-only root, one writable volume, no other processes, no
/// capabilities, nobody.
const CONTAINED: &str = r#"
set -e
mount --bind "$1" "$1"
mount --bind "$2" "$1/files"
mount -o remount,ro,bind "$1"
root=$1 program=$3; shift 3
exec setpriv --bounding-set=-all,+sys_chroot,+setuid,+setgid --no-new-privs \
    chroot --userspec=65534:65534 --groups= "$root" "$program" "$@"
"#;

#[test]
fn the_proxy_runs_as_nobody_in_a_read_only_root_with_nothing_else_in_it() {
    if !trefoil_keys::privileges::is_root() {
        eprintln!("not root: no root directory can be changed");
        return;
    }
    shared();
    let (root, files) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let binary = program("trefoil-proxy").unwrap();
    root_with(&binary, root.path());
    let ([port, admin], database) = ([free_port().unwrap(), free_port().unwrap()], cluster().endpoint());
    let configuration = format!(
        "listen = \"127.0.0.1:{port}\"\npolicy = \"/files/policy.toml\"\nstate = \"/files/state\"\n\
         lock = {{ key_file = \"/files/lock\" }}\nadmin = {{ listen = \"127.0.0.1:{admin}\" }}\n\
         upstream = {{ host = \"127.0.0.1\", port = {}, tls = \"disable\" }}\ncatalog = {{ user = {:?}, password = {:?} }}\n",
        database.port, database.user, database.password
    );
    fs::write(files.path().join("proxy.toml"), configuration).unwrap();
    fs::copy(deploy("policy.toml"), files.path().join("policy.toml")).unwrap();
    for file in ["", "proxy.toml", "policy.toml"] {
        chown(files.path().join(file), Some(NOBODY), Some(NOBODY)).unwrap();
    }
    fs::set_permissions(root.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let contained = |arguments: &[&str]| -> Vec<String> {
        let directories = [root.path(), files.path()].map(|path| path.display().to_string());
        let shell = ["unshare", "--mount", "--propagation=private", "sh", "-c", CONTAINED, "contained"];
        let mut command: Vec<String> = shell.map(str::to_owned).to_vec();
        command.extend(directories);
        command.push("/usr/bin/trefoil-proxy".to_owned());
        command.extend(arguments.iter().map(|argument| (*argument).to_owned()));
        command
    };
    let init = contained(&["init", "--config", "/files/proxy.toml", "--tenant", "t", "--application", "a"]);
    succeeded(&Command::new(&init[0]).args(&init[1..]).output().unwrap());
    let log = files.path().join("log");
    let serve = contained(&["--config", "/files/proxy.toml"]);
    let mut proxy = Leash::start("contained proxy", &serve, "TERM", &log, None).unwrap();
    proxy.wait_for(&format!("listening on 127.0.0.1:{port}"), Duration::from_secs(30)).unwrap();

    let status = fs::read_to_string(format!("/proc/{}/status", proxy.pid())).unwrap();
    let field = |name: &str| -> Vec<&str> {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap().split_whitespace().collect()
    };
    assert_eq!(field("Uid:"), ["65534"; 4]);
    assert_eq!((field("CapEff:"), field("NoNewPrivs:")), (vec!["0000000000000000"], vec!["1"]));
    let mut client = Frontend::connect(&database.through(port), &[]).unwrap();
    let frames = client.query("SELECT 1").unwrap();
    assert!(frames.iter().any(|frame| frame.tag == b'D'), "{frames:?}");
    assert!(fs::read_to_string(&log).unwrap().contains("shares of requests lie in"));
}
