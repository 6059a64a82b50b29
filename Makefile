# quickstart   builds llamero, brings up a real model behind a gateway and lets it write; can be run again at any time
# test         installs what the tests need (Debian packages as root, the rest in a cache) and runs them all
# vllm         installs a vLLM in the cache too (6 GB) and runs its tests, some minutes
# llama-cpp-python  builds one from source in the cache too (some minutes) and runs its tests
# faults       lets every system call of a small apply fail once, each in its turn, and the power at every instant, some 25 minutes
# kills        kills an apply 1,200 times at random instants and writes docs/kills.md, some 20 minutes
# busy         kills applies beside three busy loops on every core; as root
# box          cuts the power of a disposable machine in the middle of an apply; as root
# fresh        runs the README's commands and CI's script in an empty Debian system and writes docs/fresh.md; as root
# deny         checks dependencies: advisories where their database can be had, bans, licences and sources
# mutants      changes engines, rendering and targets bit by bit and shows which change no test notices (OPTIONS); with
#              cargo-mutants 27.1.0, hours
# simulate     runs the transaction in a simulated world, RUNS times, and writes docs/simulation.md
# busy-tests   runs the tests that touch nothing outside ROUNDS times beside a busy loop on every core
# bench        prints llamero and its peers side by side
export CARGO_TERM_COLOR ?= auto
heading = @printf '\n== %s\n' '$(1)'

.PHONY: quickstart test check deny pure real lane vllm llama-cpp-python faults kills busy box fresh mutants simulate busy-tests bench

quickstart:
	@tools/need cargo cc python3 python3-venv
	$(call heading,build llamero (a few minutes the first time))
	cargo build --release
	$(call heading,bring up the stack (about 1 GB of downloads the first time))
	target/release/llamero apply manifests/quickstart.yaml --yes
	@tools/quickstart-ask

test: check pure real

check:
	@tools/need cargo cc
	$(call heading,format)
	cargo fmt --all --check
	$(call heading,lints)
	cargo clippy --workspace --all-targets -- -D warnings
	$(call heading,documentation)
	RUSTDOCFLAGS='-D warnings' cargo doc --workspace --no-deps --document-private-items

deny:
	@tools/need cargo cc
	$(call heading,dependencies)
	@tools/deny

pure:
	$(call heading,tests that touch nothing outside)
	RUST_TEST_THREADS=24 cargo test --workspace

real:
	@if [ "$$(id -u)" != 0 ]; then printf '\n== tests on real parts are skipped: they need root\n'; else $(MAKE) --no-print-directory lane; fi

lane:
	$(call heading,tests on real parts)
	tests/real/lane

vllm:
	$(call heading,tests with vLLM)
	LLAMERO_VLLM=1 tests/real/lane real::vllm

llama-cpp-python:
	$(call heading,tests with llama-cpp-python)
	LLAMERO_LLAMA_CPP_PYTHON=1 tests/real/lane real::llama_cpp_python

faults:
	@tools/need cargo cc strace
	$(call heading,every system call may fail)
	cargo test --test suite -- every_system_call_may_fail every_power_cut --ignored --nocapture --test-threads=1

kills:
	$(call heading,killed at random instants)
	LLAMERO_KILLS=1200 LLAMERO_KILLS_REPORT="$(CURDIR)/docs/kills.md" tests/real/lane real::kills

busy:
	$(call heading,killed on a busy machine)
	LLAMERO_BUSY=3 tests/real/lane real::orphans
	LLAMERO_BUSY=3 tests/real/lane real::kills

box:
	@LLAMERO_BOX=1 tests/real/install >/dev/null
	cargo build
	$(call heading,power cuts)
	@tests/real/power-cut 20

fresh:
	$(call heading,an empty system)
	@folder=$$(mktemp -d /var/tmp/llamero-fresh-XXXXXX) && report=$$folder.md && \
	  tests/real/fresh $$folder >$$report; ended=$$?; cat $$report; \
	  { printf '# In an empty system\n\n`make fresh` writes this page: the commands of the README and the script of CI, in a minimal Debian system\n'; \
	    printf 'without a cache, without Go and without uv.\n\n'; cat $$report; } >docs/fresh.md; rm -f $$report; exit $$ended

mutants:
	@tools/need cargo cc
	$(call heading,mutants)
	@tools/mutants $(OPTIONS)

RUNS ?= 100000
simulate:
	$(call heading,$(RUNS) simulated runs)
	RUNS=$(RUNS) COMMIT="$$(git rev-parse --short HEAD)" REPORT="$(CURDIR)/docs/simulation.md" \
	  cargo test --profile simulate --test sim -- simulate --exact --ignored --nocapture

ROUNDS ?= 10
busy-tests:
	@tools/need cargo cc
	$(call heading,$(ROUNDS) rounds on a busy machine)
	tools/busy $(ROUNDS) env RUST_TEST_THREADS=24 cargo test --workspace

bench:
	@tools/need cargo cc python3 python3-venv
	cargo build --release
	bench/linear
	bench/peers
