# EPU. `make` alone lists the targets. CI runs .ci/run, which uses only these.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

GO       ?= go
PREFIX   ?= /usr/local
DESTDIR  ?=
CAMPAIGN ?= 2000
TOOLS    := $(CURDIR)/internal/tools/bin
PROGRAMS  = $(notdir $(patsubst %/main.go,%,$(wildcard cmd/*/main.go)))

# The race detector needs a C compiler. CI always has one: there a missing one is an error, not a choice.
RACE := $(if $(CI)$(shell command -v cc gcc clang 2>/dev/null),-race)
# The commit goes into the binaries where there is one to read (`epud version`).
STAMP = $(shell git rev-parse HEAD >/dev/null 2>&1 && echo true || echo false)
# System tests live in *_test.go files behind `//go:build system` and are called TestSystem....
SYSTEM = $(shell grep -rl --include='*_test.go' '^//go:build system' . | xargs -r -n1 dirname | sort -u)
# Campaigns are ordinary tests called TestCampaign... that read the number of seeds from EPU_CAMPAIGN or
# from a flag -seeds of their package.
CAMPAIGNS = $(shell grep -rl --include='*_test.go' '^func TestCampaign' . | xargs -r -n1 dirname | sort -u)
# Packages that evaluate policies one after the other: nothing of theirs races, and under the detector they take ten
# times as long.
SERIAL = ./policies/policytest ./policies/simulate/...

.PHONY: help
help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | while IFS=$$'\t' read -r name what; do printf '  %-13s %s\n' "$$name" "$$what"; done

.PHONY: demo
demo: build ## Tell the story of EPU with real processes: about a minute to read, no root, no network (DEMO=auto: without keys)
	@$(GO) run ./internal/demo bin

.PHONY: demo-queue
demo-queue: build ## The same of a pool that follows a RabbitMQ queue up and down, with a drawing at the end (needs rabbitmq-server)
	@CGO_ENABLED=0 $(GO) build -o bin/ ./examples/sleeper-queue
	@$(GO) run ./internal/demo bin queue

.PHONY: test
test: ## Run every test that needs nothing but Go, with the race detector where there is a C compiler
	$(GO) test $(RACE) -timeout 5m $(if $(RACE),$$($(GO) list ./... | grep -vxF "$$($(GO) list $(SERIAL))"),./...)
	$(if $(RACE),$(GO) test -timeout 5m $(SERIAL))
	$(if $(RACE),$(GO) test -run '^TestCampaign|^TestLarge|^TestActionIsNumbered|^TestHostWork' -timeout 5m $(CAMPAIGNS) ./policies)

.PHONY: test-system
test-system: build ## Run the few tests that need real programs around them (install those with make ci-deps)
	$(if $(SYSTEM),$(GO) test $(RACE) -tags system -run '^TestSystem' -count 1 -timeout 10m $(SYSTEM),@echo 'no system tests')

.PHONY: campaign
campaign: ## Run the seeded fault campaigns: CAMPAIGN=n seeds of each (default 2000)
	@for dir in $(CAMPAIGNS); do \
	  args=(); ! grep -qs 'flag.Int("seeds"' "$$dir"/*_test.go || args=(-args -seeds $(CAMPAIGN)); \
	  EPU_CAMPAIGN=$(CAMPAIGN) $(GO) test -run '^TestCampaign' -count 1 -timeout 0 -v "$$dir" "$${args[@]}"; \
	done

.PHONY: bench
bench: ## Hold the performance budgets against their baselines, as a table (BENCH=regexp: other benchmarks)
	$(if $(BENCH),$(GO) test -run '^$$' -bench '$(BENCH)' -benchmem -timeout 30m ./...,\
	  $(GO) test -p 1 -run '^$$' -bench '^BenchmarkBudget' -benchtime 7x -timeout 20m \
	    ./actors ./policies ./persistence/badger ./internal/daemon ./internal/daemon/engine | awk -f scripts/dev/budgets.awk)

.PHONY: check
check: tools check-generated ## Vet, staticcheck, luacheck, formatting, generated files, architecture and tidiness
	$(GO) vet -tags system ./...
	$(TOOLS)/staticcheck -tags system ./...
	@bad=$$(git ls-files -co --exclude-standard '*.go' ':!*.pb.go' | xargs -r ls -d 2>/dev/null | xargs -r $(TOOLS)/gofumpt -l); \
	  if [ -n "$$bad" ]; then printf 'not formatted (make format):\n%s\n' "$$bad"; exit 1; fi
	@scripts/dev/check-lua.sh
	$(GO) test -count 1 ./internal/archtest ./internal/doctest

.PHONY: format
format: tools ## Format all Go code
	git ls-files -co --exclude-standard '*.go' ':!*.pb.go' | xargs -r ls -d 2>/dev/null | xargs -r $(TOOLS)/gofumpt -l -w

.PHONY: build
build: ## Build every program into bin/
	@mkdir -p bin
	$(if $(PROGRAMS),CGO_ENABLED=0 $(GO) build -trimpath -buildvcs=$(STAMP) -o bin/ $(PROGRAMS:%=./cmd/%))

.PHONY: install
install: build ## Install programs and the systemd unit below PREFIX (default /usr/local); DESTDIR is honoured
	install -d '$(DESTDIR)$(PREFIX)/bin' '$(DESTDIR)$(PREFIX)/lib/systemd/system'
	install -m 0755 $(PROGRAMS:%=bin/%) '$(DESTDIR)$(PREFIX)/bin/'
	sed 's|/usr/local/bin/|$(PREFIX)/bin/|g' examples/systemd/epud.service > '$(DESTDIR)$(PREFIX)/lib/systemd/system/epud.service'
	chmod 0644 '$(DESTDIR)$(PREFIX)/lib/systemd/system/epud.service'
	install -D -m 0644 examples/systemd/epu.sysusers.conf '$(DESTDIR)$(PREFIX)/lib/sysusers.d/epu.conf'

.PHONY: generate
generate: tools ## Write the generated files anew (needs protoc: make ci-deps)
	@scripts/dev/generate.sh .

.PHONY: check-generated
check-generated: tools
	@scripts/dev/check-generated.sh

.PHONY: tools
tools:
	@$(GO) -C internal/tools build -buildvcs=false -o bin/ tool

.PHONY: ci-deps
ci-deps: ## Install the Debian packages that test-system and check use, where they are missing
	@scripts/dev/ci-deps.sh

.PHONY: clean
clean: ## Remove what make built
	rm -rf bin internal/tools/bin
