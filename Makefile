# make demo     builds a bootc image with a kernel module from nothing, checks it and describes it
# make test     what continuous integration runs
# make test-full  also boots the demo's image and lets other tools read it (slow)
# make bench    timings, compared with other tools
# Needs a Rust toolchain (rustup); everything else is installed by "make setup", which needs root.

WORK ?= .work
ASSEMBLE = target/release/assemble
IMAGE = out/debian-probe:latest

.DELETE_ON_ERROR:
.PHONY: setup base demo test test-full bench

setup:
	tests/setup.sh

# The image that tests and demo build upon, and the module they add; both are kept until their scripts change.
base: setup
	tests/base/make-base.sh $(WORK)
	tests/base/make-module.sh $(WORK)

demo: base
	cargo build --release -p assemble
	$(ASSEMBLE) --recipe recipes/debian-probe.toml
	$(ASSEMBLE) lint oci:$(IMAGE)
	$(ASSEMBLE) inspect oci:$(IMAGE)

test: base
	python3 -B -m unittest discover -q -s tests/base
	python3 -B -m unittest discover -q -s tests/clients
	cargo test --workspace

test-full: test demo
	tests/clients/clients.sh $(IMAGE)
	tests/boot/boot.sh $(IMAGE) probe 'probe: loaded, answer 42, level 2'

bench: demo
	tests/bench/bench.sh $(WORK)
