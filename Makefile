# Everything that builds, tests and measures httpsniff. `make help` lists it.
# Targets install what they are missing (scripts/setup.sh), by sudo if need be.

CARGO ?= cargo
PREFIX ?= /usr/local
DESTDIR ?=
# Seconds for each fuzz target.
FUZZ_SECONDS ?= 30
# Kernels of scripts/kernels.list to test; all if empty.
KERNELS ?=

BINARY := target/release/httpsniff

.PHONY: all build demo test test-kernels bench lint fuzz install clean help
.DEFAULT_GOAL := all

all: build

build: ## build target/release/httpsniff
	@scripts/setup.sh build
	$(CARGO) build --release --locked

demo: ## show httpsniff at work on an HTTPS server of its own
	@scripts/setup.sh demo
	$(CARGO) build --release --locked
	@scripts/demo.sh $(BINARY)

test: ## run every test that this machine can run
	@scripts/setup.sh test
	@scripts/test.sh

test-kernels: ## run the live tests in other kernels, in virtual machines
	@scripts/setup.sh kernels
	@scripts/kernel-test.sh $(KERNELS)

bench: ## measure what watching costs nginx, and beginning and stopping
	@scripts/setup.sh bench
	$(CARGO) build --release --locked
	@benches/watched.py $(BINARY)
	@benches/attach.py $(BINARY)

lint: ## check formats, clippy and rustdoc; warnings are errors
	@scripts/setup.sh lint
	@scripts/lint.sh

fuzz: ## run each fuzz target for FUZZ_SECONDS
	@scripts/fuzz.sh $(FUZZ_SECONDS)

install: build ## install into PREFIX (/usr/local)
	install -D -m 755 $(BINARY) $(DESTDIR)$(PREFIX)/bin/httpsniff

clean: ## remove what was built, downloaded and captured here
	$(CARGO) clean
	rm -rf .venv demo.pcapng

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' Makefile
