#!/usr/bin/env bash
# Installs the Debian or Ubuntu packages that building and running Trefoil needs and that are
# missing, saying which. Does nothing, quickly, when all is there. With the argument `test` also what
# only the tests need: Node.js, Java and Go and their PostgreSQL drivers, PgBouncer, curl, a keyring and its
# bus; with `bench` what measuring needs: PgBouncer, and perf to count system calls.
set -euo pipefail

have() { command -v "$1" >/dev/null 2>&1; }

have_postgresql() {
    [ -n "${PG_BIN:-}" ] && [ -x "$PG_BIN/initdb" ] && return
    compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || have initdb
}

have_libclang() {
    # Not libclang-cpp, which bindgen cannot use.
    [ -n "${LIBCLANG_PATH:-}" ] || compgen -G '/usr/lib/llvm-*/lib/libclang[.-][s0-9]*' >/dev/null ||
        compgen -G '/usr/lib/*/libclang[.-][s0-9]*' >/dev/null || compgen -G '/usr/lib64/libclang[.-][s0-9]*' >/dev/null
}

missing=()
have cc || missing+=(gcc libc6-dev)
have make || missing+=(make)
have setpriv || missing+=(util-linux)
# bindgen, for the SQL grammar: the library, and clang's own headers.
have_libclang || missing+=(libclang-dev clang)
have_postgresql || missing+=(postgresql)
have psql || missing+=(postgresql-client)
python3 -c 'import venv, ensurepip' 2>/dev/null || missing+=(python3 python3-venv)
if [ "${1:-}" = test ]; then
    have node || missing+=(nodejs)
    have npm || missing+=(npm)
    have chromium || have chromium-browser || have google-chrome || missing+=(chromium)
    have javac || missing+=(default-jdk-headless)
    have curl || missing+=(curl)
    have dbus-run-session || missing+=(dbus)
    have gnome-keyring-daemon || missing+=(gnome-keyring)
    [ -e /usr/share/java/postgresql.jar ] || missing+=(libpostgresql-jdbc-java)
    have go || missing+=(golang-go)
    [ -e /usr/share/gocode/src/github.com/jackc/pgx/v4 ] || missing+=(golang-github-jackc-pgx-v4-dev)
    have pgbouncer || [ -x /usr/sbin/pgbouncer ] || missing+=(pgbouncer)
fi

if [ "${1:-}" = bench ]; then
    have pgbouncer || [ -x /usr/sbin/pgbouncer ] || missing+=(pgbouncer)
    # On Ubuntu the kernel's own package has it; without it system calls are not counted.
    have perf || ! apt-cache show linux-perf >/dev/null 2>&1 || missing+=(linux-perf)
fi

if [ "${#missing[@]}" -gt 0 ]; then
    echo "packages: installing ${missing[*]}"
    if ! have apt-get; then
        echo "packages: this is no Debian or Ubuntu: install the equivalents of ${missing[*]} by hand" >&2
        exit 1
    fi
    root=()
    if [ "$(id -u)" -ne 0 ]; then
        have sudo || { echo "packages: run this as root, or install sudo" >&2; exit 1; }
        root=(sudo)
    fi
    export DEBIAN_FRONTEND=noninteractive
    "${root[@]}" apt-get update -qq
    if [[ " ${missing[*]} " == *" postgresql "* ]]; then
        # Debian starts a default cluster on installation: only the programs are wanted.
        "${root[@]}" apt-get install -y -qq --no-install-recommends postgresql-common
        echo "packages: switching off the default cluster in /etc/postgresql-common/createcluster.conf"
        "${root[@]}" sed -i 's/^#\?create_main_cluster.*/create_main_cluster = false/' \
            /etc/postgresql-common/createcluster.conf
    fi
    "${root[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}"
fi

if ! have cargo; then
    echo "packages: no Rust toolchain: install one from https://rustup.rs" >&2
    exit 1
fi
