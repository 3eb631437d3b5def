# make demo   shows the whole of Trefoil in a terminal, on a throwaway PostgreSQL, and checks it
# make up     starts the same parts and keeps them up until Ctrl-C   (POLICY=, DIR=, PG_BIN=, RELEASE=1)
# make test   sets up and runs all tests
# make differential   compares the proxy with a PostgreSQL without one   (SECONDS=60, SEED=, FAILURES=1)
# make soak   load with kills of the database, of clients and of the proxy   (SECONDS=600)
# make bench  measures, beside PostgreSQL alone, PgBouncer and pgcrypto, for half an hour, and writes
#             docs/performance.md and its chart; with ONLY it prints and writes nothing
#                                                                      (SECONDS=3, ROUNDS=4, ONLY=part of a name)
# make bench-growth   measures how it grows, likewise                   (SECONDS=3, ONLY=part of a name)
# make bench-micro    runs the micro benchmarks, which the page of the next `make bench` shows
# make fuzz   mutates SQL and messages                               (SECONDS=60, SEED=)
# make fuzz-guided   fuzzes by coverage: some targets, or all in turn  (TARGETS=, SECONDS=600)
# make sbom   lists what the programs consist of, as CycloneDX           (in the target directory)
.PHONY: demo up test differential soak bench bench-growth bench-micro fuzz fuzz-guided sbom programs packages
.DEFAULT_GOAL := demo

TARGET := $(or $(CARGO_TARGET_DIR),target)
PROFILE := $(if $(RELEASE),release,debug)
export PG_BIN POLICY DIR SEED FAILURES ROUNDS ONLY

demo: programs
	@"$(TARGET)/$(PROFILE)/demo"

up: programs
	@exec "$(TARGET)/$(PROFILE)/up"

programs: packages
	@cargo build --locked --workspace --bins $(if $(RELEASE),--release)

# One build for programs and tests, so that both see the same features of each dependency; with the
# lock by AWS KMS, which `make programs` leaves out because its SDK takes minutes to build.
test: NEEDED_BY := test
test: packages
	@deploy/python.sh >/dev/null
	@deploy/node.sh >/dev/null
	@deploy/java.sh >/dev/null
	@deploy/go.sh >/dev/null
	cargo build --locked --workspace --all-targets --features aws-kms,keyring
	TREFOIL_BUILT=1 cargo test --locked --workspace --features aws-kms,keyring

# SECONDS is a variable of its own in some shells, which would count on.
differential: programs
	@env SECONDS="$(or $(SECONDS),60)" "$(TARGET)/$(PROFILE)/differential"

soak: programs
	@env SECONDS="$(or $(SECONDS),600)" "$(TARGET)/$(PROFILE)/soak"

# Thousands of sessions need as many open files.
bench bench-growth: NEEDED_BY := bench
bench bench-growth: packages
	@cargo build --locked --workspace --bins --release
	@ulimit -n "$$(ulimit -H -n)"; env SECONDS="$(or $(SECONDS),3)" "$(TARGET)/release/$@"

# What criterion has left of a benchmark that is no more would be shown with the others.
bench-micro: packages
	@rm -rf "$(TARGET)/criterion"
	cargo bench --locked -p trefoil-keys --bench cells
	cargo bench --locked -p trefoil-proxy --features bench --bench analysis --bench session --bench values
	@(git describe --always --dirty || echo unknown) > "$(TARGET)/criterion/commit" 2>/dev/null

fuzz: packages
	TREFOIL_FUZZ_SECONDS=$(or $(SECONDS),60) TREFOIL_FUZZ_SEED=$(SEED) \
	    cargo test --locked -p trefoil-proxy --test fuzz -- --nocapture

fuzz-guided: packages
	@proxy/fuzz/run $(or $(SECONDS),600) $(TARGETS)

sbom:
	@deploy/sbom.sh "$(TARGET)/sbom"

packages:
	@deploy/packages.sh $(NEEDED_BY)
