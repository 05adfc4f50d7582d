# Everything here works on a fresh Debian 12 or 13 with Go, make and git.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

# tcg works everywhere; kvm is for machines with real KVM. It is never guessed:
# /dev/kvm also opens where guests then hang.
ACCEL ?= tcg
FUZZTIME ?= 30s

# mke2fs and friends are outside a user's PATH on Debian.
export PATH := $(PATH):/usr/sbin:/sbin
# A test that lacks a tool or a right must fail, not skip.
export HOLDFAST_MUST_RUN := all

LINTER_VERSION := v2.15.0
LINTER := build/bin/golangci-lint
# The S3 server of the tests: a real one.
S3_VERSION := v1.8.0
S3_SERVER := build/bin/versitygw
# A peer of the benchmark that is not packaged.
KOPIA_VERSION := v0.23.1
KOPIA := build/bin/kopia
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)

# The rings of tests, by import path; what is in none of them needs no VM. The
# tag vm brings in the tests that boot guests, faults the places to die at.
RACE_RING := ^holdfast/(operation|control|vault|api)(/|$$)
GUEST_RING := ^holdfast/(compute/qemu|test/guest|test/e2e|test/matrix)(/|$$)
KILL_RING := ^holdfast/test/crash(/|$$)

comma := ,
# packages lists those of a ring, and fails when there are none: `go test`
# without packages would quietly test something else.
packages = packages=$$(go list -tags vm,faults ./... | grep -E '$(1)') || { echo "no packages match $(1)" >&2; exit 1; }
# ring runs go test on $$packages; noskip fails on any skipped test.
ring = go test -json $(1) $$packages | go run ./test/noskip $(2)

.PHONY: help
help: ## show this help
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' Makefile

# --- the product --------------------------------------------------------------

.PHONY: demo
demo: install-deps guest build ## see it work on real VMs: back up, change, restore (ACCEL=kvm on real KVM)
	@ACCEL=$(ACCEL) go run ./test/demo

.PHONY: demo-stop
demo-stop: check-go ## stop the demo's service and its VMs
	@go run ./test/demo stop

.PHONY: build
build: check-go ## build/holdfast, one static binary
	CGO_ENABLED=0 go build -trimpath -ldflags '-s -w -X main.version=$(VERSION)' -o build/holdfast ./cmd/holdfast

# --- tests ---------------------------------------------------------------------

.PHONY: test
test: test-unit test-race fuzz-short test-guests test-kills ## all tests of a change, the fast ones first

.PHONY: test-unit
test-unit: install-deps $(S3_SERVER) ## tests without VMs, but for those of test-race
	@packages=$$(go list -tags vm,faults ./... | grep -vE '$(RACE_RING)|$(GUEST_RING)|$(KILL_RING)'); \
	$(call ring,-timeout 8m)

.PHONY: test-race
test-race: install-deps $(S3_SERVER) ## operation, control, vault and api under the race detector
	@$(call packages,$(RACE_RING)); \
	CGO_ENABLED=1 $(call ring,-race -timeout 15m)

.PHONY: test-guests
test-guests: install-deps guest build ## real guests: live backups, incrementals, restores that boot
	@$(call packages,$(GUEST_RING)); \
	$(call ring,-tags vm$(comma)faults -count=1 -p 1 -timeout 12m,-v)

.PHONY: test-kills
test-kills: install-deps guest build ## SIGKILL in the middle: every operation still ends once and well
	@$(call packages,$(KILL_RING)); \
	$(call ring,-tags vm$(comma)faults -count=1 -p 1 -timeout 10m,-v)

.PHONY: test-full
test-full: install-deps $(S3_SERVER) guest build ## whole matrices and fuzzing, before a release (hours; SLICE=600 does so many seconds of it and goes on the next time)
	@FUZZTIME=$(FUZZTIME) scripts/test-full.sh

.PHONY: fuzz-short
fuzz-short: check-go ## every fuzz target for some seconds, 90 s in all
	@scripts/fuzz-short.sh 90

.PHONY: fuzz
fuzz: check-go ## every fuzz target for FUZZTIME (30s)
	@grep -rlE '^func Fuzz[A-Z]' --include='*_test.go' . | xargs -rn1 dirname | sort -u | while read -r dir; do \
		for target in $$(go test -list '^Fuzz' $$dir | grep '^Fuzz'); do \
			echo "== $$dir $$target"; \
			go test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) $$dir </dev/null; \
		done; \
	done

.PHONY: bench
bench: peers guest ## the vault beside restic, borg and Kopia, and a guest beside its backup (25 minutes; BENCH_GIB=1 BENCH_ROUNDS=1 for 1)
	go build -o build/bench-vault ./test/bench
	build/bench-vault -dir build/bench -out build/bench.md

.PHONY: bench-go
bench-go: check-go $(S3_SERVER) ## the Go benchmarks of the vault and the disks
	go test -run '^$$' -bench . -benchmem ./vault/... ./disk/...

.PHONY: check
check: install-deps $(LINTER) ## formatting, vet, linter, tidy modules, static build
	@unformatted=$$(git ls-files -z --cached --others --exclude-standard '*.go' | xargs -0r ls 2>/dev/null | xargs -r gofmt -l); \
	if [ -n "$$unformatted" ]; then echo "gofmt -w $$unformatted" >&2; exit 1; fi
	go mod tidy -diff
	go vet ./...
	go vet -tags vm,faults ./...
	$(LINTER) run --allow-parallel-runners
	$(MAKE) --no-print-directory build

# --- what is needed ---------------------------------------------------------------

.PHONY: install-deps
install-deps: check-go ## install the Debian packages that are missing, if any
	@scripts/install-deps.sh

.PHONY: check-go
check-go:
	@scripts/check-go.sh

.PHONY: guest
guest: install-deps
	@test/guest/build.sh build/guest

# The linter is built from source once, so that it is the same everywhere.
$(LINTER): Makefile | check-go
	@if $(LINTER) version 2>/dev/null | grep -qF 'version $(LINTER_VERSION:v%=%) '; then touch $(LINTER); else \
		echo "building golangci-lint $(LINTER_VERSION) (a few minutes, once)"; \
		GOBIN=$(CURDIR)/build/bin CGO_ENABLED=0 go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(LINTER_VERSION); \
	fi

# Its version is in the file's name, so that a newer one is built anew.
$(S3_SERVER): build/bin/versitygw-$(S3_VERSION)
	@ln -sf $(<F) $@

build/bin/versitygw-$(S3_VERSION): | check-go
	@echo "building versitygw $(S3_VERSION), the S3 server of the tests (a minute, once)"
	@rm -f $(S3_SERVER)
	@GOBIN=$(CURDIR)/build/bin CGO_ENABLED=0 go install github.com/versity/versitygw/cmd/versitygw@$(S3_VERSION)
	@mv build/bin/versitygw $@

# What the vault is measured against. One that cannot be had is no failure: the
# benchmark says so and goes on without it.
.PHONY: peers
peers: check-go
	@scripts/install-deps.sh 'restic restic' 'borg borgbackup' || echo "going on without the peers that are missing" >&2
	@$(MAKE) --no-print-directory $(KOPIA) || echo "going on without Kopia" >&2

$(KOPIA): build/bin/kopia-$(KOPIA_VERSION)
	@ln -sf $(<F) $@

# Not go install, which asks for the list of all versions; some mirrors have none.
build/bin/kopia-$(KOPIA_VERSION): | check-go
	@echo "building Kopia $(KOPIA_VERSION), a peer of the benchmark (some minutes, once)"
	@rm -f $(KOPIA)
	@dir=$$(go mod download -json github.com/kopia/kopia@$(KOPIA_VERSION) | sed -n 's/^\t"Dir": "\(.*\)",$$/\1/p'); \
	CGO_ENABLED=0 go -C "$$dir" build -trimpath -o $(CURDIR)/$@ \
		-ldflags '-s -w -X github.com/kopia/kopia/repo.BuildVersion=$(KOPIA_VERSION:v%=%) -X github.com/kopia/kopia/repo.BuildInfo=module' .

.PHONY: clean
clean: ## stop the demo and remove all that was built
	@if [ -e .demo ]; then $(MAKE) --no-print-directory demo-stop; fi
	rm -rf build .demo
