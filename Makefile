# `make demo` and `make test` work on a fresh machine with Rust, git, make, Node and Python. What else is needed, `make deps`
# installs where it can (Debian, as root) and names otherwise.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

CLIENTS := tests/clients
CONFORMANCE := tests/conformance
BROWSER := tests/browser
# In the directory of the library that it looks at.
PYTHON_TOOL := ../../$(CLIENTS)/.venv/bin/python -m
CARGO_DENY_VERSION := 0.20.2
CARGO_DEB_VERSION := 3.8.0
CARGO_CYCLONEDX_VERSION := 0.5.9
CARGO_MUTANTS_VERSION := 27.1.0
CMAKE_VERSION := 4.4.4
SSLYZE_VERSION := 6.3.1
MDBOOK_VERSION := 0.5.4
# Tools that Cargo builds for us live outside the repository's own target directory, so that `cargo clean` keeps them.
TOOLS ?= $(CURDIR)/.cache/tools
export PATH := $(TOOLS)/bin:$(PATH)

.PHONY: help
help: ## List the targets
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

.PHONY: demo
demo: deps-build ## Run everything on this machine: gateway, authorization server, MCP servers
	cargo run -- demo $(ARGS)

.PHONY: test
test: deps ## Run all tests
	cargo test

.PHONY: build-tests
build-tests: deps-build
	cargo test --no-run

.PHONY: kosoku
kosoku: deps ## The full WebSocket suite, with and without the gateway, or KOSOKU_CASES='9.* 13.*' of it (minutes)
	cargo test --test it kosoku:: -- --ignored

.PHONY: test-proxies
test-proxies: deps-build ## HAProxy, nginx and Caddy as they really are, with the recipes of conf/recipes and deploy
	@$(call need,haproxy,haproxy)
	@$(call need,nginx,nginx-light)
	@$(call need,caddy,caddy)
	cargo test --test it -- --ignored announced::haproxy forward_proxies:: behind_proxies::

.PHONY: test-root
test-root: deps-build ## Full, failing and read-only disks, little memory, few threads, a name server that lies (as root: they mount, and serve port 53)
	@$(call need,mkfs.ext4,e2fsprogs)
	@$(call need,ip,iproute2)
	cargo test --test it -- --ignored disks:: lying_dns:: scarce::

.PHONY: test-package
test-package: deps-build deps-clients deps-package ## The Debian package in a clean system, with a real client (as root)
	@$(call need,mmdebstrap,mmdebstrap)
	deploy/debian/test.sh

.PHONY: test-systemd
test-systemd: deps-build deps-package ## The Debian package in a system that boots: unit, sandbox, watchdog, sockets (as root)
	@$(call need,mmdebstrap,mmdebstrap)
	@$(call need,systemd-nspawn,systemd-container)
	deploy/debian/boot.sh

.PHONY: test-chromium
test-chromium: deps-build ## Passkeys in a real browser
	@command -v chromium chromium-browser google-chrome >/dev/null || $(call need,chromium,chromium)
	cargo test --test it passkeys:: -- --ignored

.PHONY: test-dashboard
test-dashboard: deps-build deps-browser ## The dashboard in a real browser, or ARGS='attacks --headed' of it
	cargo test --no-run --quiet --test it
	cd $(BROWSER) && PORTCULLIS="$$(cargo metadata --format-version 1 --no-deps \
	  | python3 -c 'import json, sys; print(json.load(sys.stdin)["target_directory"])')/debug/portcullis" \
	  node_modules/.bin/playwright test $(ARGS)

.PHONY: screenshots
screenshots: ## The pictures of docs/images, anew
	PORTCULLIS_SCREENSHOTS=1 $(MAKE) test-dashboard ARGS=screenshots

.PHONY: check
check: ## Everything that CI runs
	.ci/run

.PHONY: lint
lint: deps-build deps-lint lint-peers lint-clients lint-browser lint-docs ## Formatting, clippy, licences and banned crates; TypeScript and Python; the documentation
	cargo fmt --check
	cargo clippy --all-targets -- -D warnings
	for package in benches/peers benches/peers/pingora benches/dudect tests/fuzz tests/mutants; do \
	  cargo fmt --check --manifest-path $$package/Cargo.toml; done
	cargo deny --config .deny.toml check bans licenses sources
	python3 -B deploy/dependencies.py --check

.PHONY: lint-peers
lint-peers: deps-build ## The benchmarks of other gateways: clippy
	env -u CARGO_TARGET_DIR cargo clippy --locked --manifest-path benches/peers/Cargo.toml --target-dir $(TOOLS)/lint-peers --all-targets \
	  -- -D warnings

.PHONY: unsafe
unsafe: ## Unsafe code in every crate that is compiled in, and their licences
	@python3 -B deploy/dependencies.py

.PHONY: lint-clients
lint-clients: deps-clients ## The client libraries: types, style
	cd clients/python && $(PYTHON_TOOL) ruff check --no-cache . && $(PYTHON_TOOL) ruff format --no-cache --check . \
	  && $(PYTHON_TOOL) mypy --cache-dir /dev/null src tests
	$(CLIENTS)/node_modules/.bin/tsc -p clients/typescript --noEmit
	$(CLIENTS)/node_modules/.bin/tsc -p $(CLIENTS)

.PHONY: lint-browser
lint-browser: $(BROWSER)/node_modules/.installed ## The tests of the dashboard: types
	$(BROWSER)/node_modules/.bin/tsc -p $(BROWSER)

.PHONY: release
release: deps-build ## The program as it is released: the same sources, the same bytes (PROFILE=dist)
	@program=$$(PROFILE=$${PROFILE:-dist} deploy/release.sh) && sha256sum "$$program"

.PHONY: reproduce
reproduce: deps-build ## Build twice in different places and compare (PROFILE=dist; minutes)
	deploy/reproduce.sh

.PHONY: deb
deb: deps-build deps-package ## The Debian package, in target/debian
	program=$$(deploy/release.sh) && deploy/debian/package.sh "$$program"
	cargo deb --no-build --no-strip --locked

.PHONY: sbom
sbom: ## What the program is made of: CycloneDX, in target/portcullis.cdx.json
	@command -v cargo-cyclonedx >/dev/null || $(call tool,cargo-cyclonedx,$(CARGO_CYCLONEDX_VERSION))
	deploy/sbom.sh

.PHONY: lint-docs
lint-docs: deps-build ## The documentation: its links, and whether its commands and configurations are ones
	cargo test --no-run --quiet --test it
	@program="$$(cargo metadata --format-version 1 --no-deps \
	  | python3 -c 'import json, sys; print(json.load(sys.stdin)["target_directory"])')/debug/portcullis"; \
	PORTCULLIS="$$program" python3 -B -m unittest discover -q -s tests/docs && python3 -B tests/docs/check.py --binary "$$program"

.PHONY: docs
docs: ## Build the documentation site in target/book
	@command -v mdbook >/dev/null || { echo 'building mdbook (once, some minutes)'; \
	  env -u CARGO_TARGET_DIR cargo install mdbook --version $(MDBOOK_VERSION) --locked --debug --no-default-features \
	    --features search --root $(TOOLS) --quiet; }
	mdbook build

.PHONY: bench
bench: deps-build ## Micro-benchmarks of the hot path (criterion)
	cargo bench --bench hot_path $(ARGS)

.PHONY: bench-compare
bench-compare: deps-build ## The same beside another commit, in turns: BASE=<tag or commit>, the last release by default
	python3 -B benches/compare.py --base '$(BASE)' --profile $(or $(PROFILE),release) $(ARGS)

.PHONY: guard
guard: deps-build deps-valgrind ## Instructions and allocations of the hot path against benches/budgets.toml; UPDATE=1 writes it
	cargo test --quiet --bench guard -- $(if $(UPDATE),--update)

.PHONY: instructions
instructions: deps-build deps-valgrind ## The same counts of an optimised build (PROFILE=profiling), without budgets
	cargo bench --profile $(or $(PROFILE),profiling) --bench guard -- --report $(ARGS)

.PHONY: bench-keys
bench-keys: deps-build ## Ten million different addresses, people and hostnames: memory before and after
	cargo bench --profile dist --bench keys

.PHONY: bench-growth
bench-growth: deps-build ## What 100,000 upstreams, a million live tokens and as many people cost
	cargo bench --profile dist --bench growth

.PHONY: bench-streams
bench-streams: deps-build ## Ten thousand idle streams: memory of each and afterwards; delay and CPU of events
	cargo bench --profile dist --bench streams

.PHONY: bench-store
bench-store: deps-build deps-postgres ## Refreshes per second and a million connections, on SQLite and PostgreSQL
	cargo bench --profile dist --bench store

.PHONY: bench-activity
bench-activity: deps-build deps-postgres ## Ten million requests of a month: what counting them costs, and reading reports
	cargo bench --profile dist --bench activity

.PHONY: bench-recording
bench-recording: deps-build deps-postgres ## What recording a request costs: audit log, activity, metrics, on SQLite and PostgreSQL
	cargo bench --profile dist --bench recording

.PHONY: bench-start
bench-start: deps-build deps-postgres ## Time to readiness and idle memory with 10,000 upstreams and 100,000 connections
	cargo bench --profile dist --bench start

.PHONY: bench-nginx
bench-nginx: deps-build ## Compare with nginx as a plain proxy, in one run (needs nginx and wrk)
	@$(call need,nginx,nginx-light)
	@$(call need,wrk,wrk)
	cargo bench --profile dist --bench nginx

.PHONY: bench-unified
bench-unified: deps-build deps-clients ## A call through the unified endpoint beside mcp-proxy, supergateway and fastmcp, in one run
	cargo build --profile dist --bin portcullis
	cd $(CLIENTS) && node bench-unified.mjs "$$(cargo metadata --format-version 1 --no-deps \
	  | python3 -c 'import json, sys; print(json.load(sys.stdin)["target_directory"])')/dist/portcullis"

# What `make bench-peers` takes besides: PORTCULLIS, PINGORA, AGENTGATEWAY (programs; the first two are built without), ONLY, ROUNDS, SECONDS, OUT.
PEERS := benches/peers
PEERS_TARGET := $(CURDIR)/.cache/peers
# A cargo's own target directory would mix three packages with different profiles.
PEERS_BUILD := env -u CARGO_TARGET_DIR cargo build --release --locked --quiet

.PHONY: bench-peers
bench-peers: deps-build deps-peers ## The gateway beside nginx, HAProxy, Caddy, Pingora and others: report, rows and plots in OUT
	$(PEERS_BUILD) --manifest-path $(PEERS)/Cargo.toml --target-dir $(PEERS_TARGET)/harness
	@test -n '$(PINGORA)' || $(PEERS_BUILD) --manifest-path $(PEERS)/pingora/Cargo.toml --target-dir $(PEERS_TARGET)/pingora
	@test -n '$(PORTCULLIS)' || cargo build --profile dist --bin portcullis
	@portcullis='$(PORTCULLIS)'; pingora='$(PINGORA)'; \
	: "$${portcullis:=$$(cargo metadata --format-version 1 --no-deps \
	  | python3 -c 'import json, sys; print(json.load(sys.stdin)["target_directory"])')/dist/portcullis}"; \
	: "$${pingora:=$(PEERS_TARGET)/pingora/release/bare-pingora}"; \
	$(PEERS_TARGET)/harness/release/peers --portcullis "$$portcullis" --pingora "$$pingora" --agentgateway '$(AGENTGATEWAY)' \
	  --clients '$(if $(wildcard $(CLIENTS)/node_modules/.installed),$(CLIENTS))' --only '$(ONLY)' \
	  --rounds '$(or $(ROUNDS),5)' --seconds '$(or $(SECONDS),3)' --out '$(or $(OUT),target/peers)'

.PHONY: deps-peers
deps-peers: deps-clients
	@$(call need,nginx,nginx-light)
	@$(call need,haproxy,haproxy)
	@$(call need,caddy,caddy)
	@$(call need,wrk,wrk)
	@$(call need,h2load,nghttp2-client)

.PHONY: slowloris
slowloris: deps-build ## 5,000 slow connections, and what others notice of them (needs slowhttptest)
	@$(call need,slowhttptest,slowhttptest)
	cargo bench --profile dist --bench hostile -- slowloris

.PHONY: h2-attacks
h2-attacks: deps-build ## Every HTTP/2 attack for a minute, and the memory that it takes
	cargo bench --profile dist --bench hostile -- h2 $(SECONDS_EACH)

.PHONY: registrations
registrations: deps-build ## A million clients that register, each from an address of its own (COUNT), and what is left of them
	cargo bench --profile dist --bench hostile -- registrations $(COUNT)

.PHONY: upgrade-load
upgrade-load: deps-build ## Two upgrades of a running binary under a flood of requests and 1,000 streams (needs wrk)
	@$(call need,wrk,wrk)
	cargo test --test it upgrades::nothing_is_lost -- --ignored --nocapture

.PHONY: tls-scan
tls-scan: deps-build ## What testssl.sh and sslyze find in a gateway's TLS (minutes)
	@$(call need,testssl,testssl.sh)
	@test -x $(TOOLS)/sslyze/bin/sslyze || { python3 -m venv $(TOOLS)/sslyze && \
	  $(TOOLS)/sslyze/bin/python -m pip install --quiet --disable-pip-version-check sslyze==$(SSLYZE_VERSION); }
	cargo test --no-run --quiet --test it
	python3 tests/tls/scan.py "$$(cargo metadata --format-version 1 --no-deps \
	  | python3 -c 'import json, sys; print(json.load(sys.stdin)["target_directory"])')/debug/portcullis" \
	  $(TOOLS)/sslyze/bin/python

.PHONY: chaos
chaos: deps-build ## The chaos proxy with many seeds
	PORTCULLIS_CHAOS_SEEDS=$${SEEDS:-100} cargo test --test it chaos:: -- --nocapture

.PHONY: crash
crash: deps-build ## Kill a process at every step of a refresh, CYCLES times with either kind of server (minutes)
	PORTCULLIS_CRASH_CYCLES=$${CYCLES:-1000} cargo test --lib connect::tests::crashing -- --nocapture

.PHONY: mutants
mutants: deps-build ## Mutants of what security rests on, all in one build, against the tests that reach them (hours; ARGS="--again" goes on)
	@command -v cargo-mutants >/dev/null || $(call tool,cargo-mutants,$(CARGO_MUTANTS_VERSION))
	python3 -B tests/mutants/run.py $(ARGS)

.PHONY: coverage
coverage: deps ## Lines that tests reach, by module; what security rests on must have 95 %
	tests/coverage/run.sh

.PHONY: model
model: deps-build ## Who may do what against a model: CASES random orders of grants, revocations, restarts and the rest (minutes)
	PORTCULLIS_MODEL_CASES=$${CASES:-10000} cargo test --lib app::model -- --nocapture

.PHONY: isolation
isolation: deps-build ## PEOPLE at two upstreams over two nodes, interleaved: nobody gets what is another one's (minutes)
	PORTCULLIS_CROWD=$${PEOPLE:-10000} cargo test --test it crowd::c_ten_thousand -- --ignored --nocapture

.PHONY: dudect
dudect: ## Whether the time of a comparison tells anything about the secret: Welch's t of every way to compare
	env -u CARGO_TARGET_DIR cargo run --release --quiet --manifest-path benches/dudect/Cargo.toml --target-dir .cache/dudect -- $(SAMPLES)

.PHONY: soak
soak: deps-build deps-postgres ## Mixed traffic with faults for MINUTES=60 on DATABASE=sqlite or postgres, SEED=1; OUT=<file> takes the samples
	PORTCULLIS_SOAK_MINUTES=$${MINUTES:-60} PORTCULLIS_SOAK_SEED=$${SEED:-1} PORTCULLIS_SOAK_DATABASE=$${DATABASE:-sqlite} \
	PORTCULLIS_SOAK_OUT=$${OUT:-} cargo test --test it soak:: -- --nocapture --include-ignored

# What `make fuzz` takes besides: TARGET (a name, or all of tests/fuzz/corpus), RUNS of each target, or SECONDS of each, SLICE (the
# seconds of a turn), JOBS (how many at a time), STOP (after so many seconds), OUT; QUICK=1 for more a second, without what comparisons
# and repetitions tell libFuzzer: for when a run with that has found its ways.
FUZZ_TARGET := $(CURDIR)/.cache/fuzz/$(if $(QUICK),quick,target)
FUZZ_NAMES = $(or $(TARGET),$(notdir $(wildcard tests/fuzz/corpus/*)))

.PHONY: fuzz
fuzz: fuzz-build ## Fuzz the parsers: TARGET=name, RUNS=100000000 or SECONDS=60 of each; goes on where it ended (hours)
	python3 tests/fuzz/run.py run $(FUZZ_TARGET) --runs $(or $(RUNS),100000000) --seconds $(or $(SECONDS),0) \
	  --slice $(or $(SLICE),300) --stop-after $(or $(STOP),0) $(addprefix --jobs ,$(JOBS)) $(if $(QUICK),--quick) \
	  --out $(or $(OUT),.cache/fuzz/out) $(addprefix --target ,$(TARGET))

.PHONY: fuzz-report
fuzz-report: ## What `make fuzz` has done so far
	@python3 tests/fuzz/run.py report --out $(or $(OUT),.cache/fuzz/out)

.PHONY: fuzz-build
fuzz-build: deps-build
	@$(call need,c++,g++)
	for name in $(FUZZ_NAMES); do \
	  env -u CARGO_TARGET_DIR RUSTC_WRAPPER=$(CURDIR)/tests/fuzz/rustc.sh PORTCULLIS_FUZZ_TARGET=$$name PORTCULLIS_FUZZ_QUICK=$(QUICK) \
	    cargo build --quiet --release --locked --manifest-path tests/fuzz/Cargo.toml --target-dir $(FUZZ_TARGET) && \
	  mv $(FUZZ_TARGET)/release/fuzz $(FUZZ_TARGET)/$$name || exit; done

.PHONY: fuzz-framing
fuzz-framing: deps-build ## What callers may smuggle past us: CONNECTIONS=20000 of each protocol, from the seed FIRST on (minutes)
	PORTCULLIS_FUZZ_CONNECTIONS=$(or $(CONNECTIONS),20000) PORTCULLIS_FUZZ_FIRST=$(or $(FIRST),1) \
	  cargo test --test it framing:: -- --nocapture

.PHONY: deps
deps: deps-build deps-clients deps-postgres deps-softhsm deps-acme deps-valgrind ## Install what the tests need

.PHONY: deps-build
deps-build:
	@command -v cmake >/dev/null || $(MAKE) --no-print-directory $(TOOLS)/bin/cmake

# Pingora's zlib-ng is built with it. Python's package registry has the program itself, so nobody needs to be root.
$(TOOLS)/bin/cmake:
	@echo 'installing cmake $(CMAKE_VERSION) in $(TOOLS)'
	@python3 -m venv $(TOOLS)/cmake 2>/dev/null || { $(call need,cmake,cmake); exit 0; }; \
	$(TOOLS)/cmake/bin/pip install --quiet --disable-pip-version-check cmake==$(CMAKE_VERSION); \
	mkdir -p $(@D); ln -sf ../cmake/bin/cmake $@

# The tests start servers of their own; Debian's package puts the programs outside of the path.
# A PKCS#11 token in software.
.PHONY: deps-softhsm
deps-softhsm:
	@$(call need,softhsm2-util,softhsm2)

# A certificate authority, and a name server that takes updates.
.PHONY: deps-acme
deps-acme:
	@$(call need,pebble,pebble)
	@$(call need,curl,curl)
	@test -x /usr/sbin/knotd || $(call need,knotd,knot)
	@$(call need,kdig,knot-dnsutils)

.PHONY: deps-postgres
deps-postgres:
	@compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || $(call need,initdb,postgresql)

# Counts instructions.
.PHONY: deps-valgrind
deps-valgrind:
	@$(call need,valgrind,valgrind)

.PHONY: deps-lint
deps-lint:
	@command -v cargo-deny >/dev/null || $(call tool,cargo-deny,$(CARGO_DENY_VERSION))

.PHONY: deps-package
deps-package:
	@command -v cargo-deb >/dev/null || $(call tool,cargo-deb,$(CARGO_DEB_VERSION))
	@$(call need,strip,binutils)
	@$(call need,dpkg-shlibdeps,dpkg-dev)

.PHONY: deps-browser
deps-browser: $(BROWSER)/node_modules/.installed $(CLIENTS)/node_modules/.installed
	@command -v chromium chromium-browser google-chrome >/dev/null || $(call need,chromium,chromium)

.PHONY: deps-clients
deps-clients: $(CLIENTS)/node_modules/.installed $(CLIENTS)/.venv/.installed $(CONFORMANCE)/node_modules/.installed

%/node_modules/.installed: %/package.json %/package-lock.json
	@$(call need,npm,npm)
	cd $* && PLAYWRIGHT_SKIP_BROWSER_DOWNLOAD=1 npm ci --no-audit --no-fund --loglevel=error
	touch $@

$(CLIENTS)/.venv/.installed: $(CLIENTS)/requirements.txt
	@$(call need,python3,python3)
	python3 -m venv $(CLIENTS)/.venv || { echo 'Python has no venv module: install python3-venv' >&2; exit 1; }
	$(CLIENTS)/.venv/bin/pip install --quiet --disable-pip-version-check -r $<
	touch $@

# $(call tool,crate,version)
define tool
{ echo 'building $(1) (once, about two minutes)'; \
  env -u CARGO_TARGET_DIR cargo install $(1) --version $(2) --locked --debug --root $(TOOLS) --quiet; }
endef

# $(call need,program,Debian package)
define need
command -v $(1) >/dev/null || { \
  if command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ]; then \
    echo 'installing $(2)'; apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq $(2) >/dev/null; \
  else \
    echo '$(1) is missing: install the package "$(2)" (Debian: sudo apt-get install $(2)) and run make again' >&2; exit 1; \
  fi; }
endef
