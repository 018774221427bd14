# make demo        builds a bootable Debian base and a kernel module, assembles an image, checks it and shows it
# make test        everything that continuous integration runs, with real clients and a boot in QEMU
# make test-full   all of that, and what takes too long for it: OpenZFS compiled again, NVIDIA's open modules compiled
# make check       what each commit must pass: format, clippy, unit tests, licences and bans, documentation
# make advisories  known vulnerabilities of the dependencies; fetches RustSec's database
# make bench       timings, compared with other tools
# make clean       removes what the others made
#
# Needs a Rust toolchain (rustup); everything else is installed by "make setup", which needs root.

WORK ?= .work
TARGET = $(or $(CARGO_TARGET_DIR),target)
RECIPE = recipes/debian-probe.toml
IMAGE = out/debian-probe:latest
# Not below WORK: podman names what it pulls after the path, which must begin with a letter.
CUT = out/debian-probe-cut:latest
STEP = tests/step.sh
# Programs of the super user live outside an ordinary user's PATH.
export PATH := $(PATH):/usr/sbin:/sbin

.PHONY: help demo test test-full check advisories bench clean setup base bed lints

help:
	@sed -n 's/^# \(make .*\)/\1/p' Makefile

demo:
	@tests/setup.sh demo
	@$(MAKE) --no-print-directory base
	@$(STEP) 'compiling assemble (minutes, the first time)' cargo build --quiet --locked --release -p assemble
	@$(STEP) '$(TARGET)/release/assemble --recipe $(RECIPE)' $(TARGET)/release/assemble --recipe $(RECIPE)
	@$(STEP) 'assemble lint oci:$(IMAGE)' $(TARGET)/release/assemble lint oci:$(IMAGE)
	@$(STEP) 'assemble inspect oci:$(IMAGE)' $(TARGET)/release/assemble inspect oci:$(IMAGE)

# The debug build that the tests made assembles the image, too: a second, optimised one would cost minutes and save
# seconds.
test: export STEPS = $(WORK)/steps
test: export ASSEMBLE = $(TARGET)/debug/assemble
test:
	@mkdir -p $(WORK) && rm -f $(STEPS)
	@$(STEP) 'system programs' tests/setup.sh test
	@$(MAKE) --no-print-directory lints base bed
	@$(STEP) 'tests' cargo test --quiet --locked --workspace
	@$(STEP) 'tests of the test scripts' tests/scripts.sh
	@$(STEP) 'image' $(ASSEMBLE) --recipe $(RECIPE) --no-cache
	@$(STEP) 'lint of the image' $(ASSEMBLE) lint oci:$(IMAGE)
	@$(STEP) 'clients' tests/clients/clients.sh $(IMAGE)
	@$(STEP) 'image, cut anew' $(ASSEMBLE) rechunk --max-layers 16 --previous none oci:$(IMAGE) oci:$(CUT)
	@$(STEP) 'lint of the image, cut anew' $(ASSEMBLE) lint oci:$(CUT)
	@$(STEP) 'tree of the image, cut anew' tests/clients/same-tree.sh oci:$(IMAGE) oci:$(CUT)
	@$(STEP) 'clients of the image, cut anew' tests/clients/clients.sh $(CUT)
	@$(STEP) 'boot' tests/boot/boot.sh $(IMAGE) probe 'probe: loaded, answer 42, level 2'
	@$(STEP) 'signatures: cosign, skopeo, podman' tests/peers/signatures.sh $(ASSEMBLE) $(WORK)
	@$(STEP) 'packages: install twice' tests/packages/packages.sh $(ASSEMBLE) $(WORK)
	@$(STEP) 'kernel: moved to what has headers, twice, booted' tests/packages/kernel.sh $(ASSEMBLE) $(WORK)
	@$(STEP) 'OpenZFS: compile, assemble, boot, use a pool' tests/zfs/zfs.sh $(ASSEMBLE) $(WORK)
	@$(STEP) --table

test-full: export ASSEMBLE = $(TARGET)/debug/assemble
test-full: test
	@$(STEP) 'OpenZFS: compile again, compare' tests/zfs/again.sh $(ASSEMBLE) $(WORK)
	@$(STEP) 'NVIDIA: compile, check, assemble' tests/zfs/nvidia.sh $(ASSEMBLE) $(WORK)

check: lints
	@$(STEP) 'unit tests' cargo test --quiet --locked --workspace --lib --bins

lints:
	@tests/setup.sh test
	@$(STEP) 'format' cargo fmt --check
	@$(STEP) 'clippy' cargo clippy --quiet --locked --workspace --all-targets -- -D warnings
	@$(STEP) 'library without features' cargo clippy --quiet --locked -p oci-assemble --no-default-features --all-targets -- -D warnings
	@RUSTDOCFLAGS='-D warnings' $(STEP) 'documentation' cargo doc --quiet --locked --workspace --no-deps
	@$(STEP) 'licences, bans, sources' tests/deny.sh $(WORK) bans licenses sources

advisories:
	@echo "fetching the RustSec advisory database from GitHub"
	@tests/deny.sh $(WORK) advisories

# The image that tests and demo build upon, and the module they add; both are kept until their scripts change.
base:
	@$(STEP) 'base image' tests/base/make-base.sh $(WORK)
	@$(STEP) 'kernel module' tests/base/make-module.sh $(WORK)

# The image and repositories that tests of dnf build upon; the tests are skipped where they cannot be made.
bed:
	@if [ "$$(id -u)" = 0 ] || [ "$$CI" = true ]; then \
	  $(STEP) 'RPM image and repositories' tests/rpm/make-rpm.sh $(WORK); \
	else echo 'skipped: the RPM image is made by root only'; fi

setup:
	@tests/setup.sh test

bench: demo
	@tests/setup.sh bench
	@tests/bench/bench.sh $(WORK)

clean:
	rm -rf $(WORK) out
	cargo clean
