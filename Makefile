# Gatecast. `make` alone prints what there is; CI runs the same targets (.ci/run).

STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
FUZZTIME    ?= 10s
VERSION     ?= $(shell git describe --tags --always --dirty 2>/dev/null)
PY          := .venv/bin/python
# Two packages at a time: the tests are sized for 2 cores.
GOTEST      := go test -p 2

.DEFAULT_GOAL := help
.PHONY: help build run cluster test short race e2e portable autobahn matrix soak storm skips rivals test-go test-python test-js lint fuzz bench bench-engine bench-rivals docs docs-check check hooks

help: ## print this
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20

build: ## build bin/gatecast and bin/gatecast-bench
	CGO_ENABLED=0 go build -trimpath -ldflags '-s -w -X main.version=$(VERSION)' -o bin/gatecast ./server/cmd/gatecast
	CGO_ENABLED=0 go build -trimpath -buildvcs=auto -ldflags '-s -w' -o bin/gatecast-bench ./bench/cmd/gatecast-bench

run: build ## build and start one node with ready logins; it prints the demo page's address
	bin/gatecast serve -dev -config config.toml

cluster: build ## start three local nodes that form a cluster; Ctrl-C ends them
	@server/e2e/cluster.sh bin/gatecast

test: skips rivals test-go test-python test-js ## run every test: a short pass that counts allocations, then all with the race detector; about 20 minutes on 2 cores
	@echo "== all tests done"; $(MAKE) --no-print-directory skips

skips: # says loudly which tests cannot run here; GATECAST_TEST_NO_SKIP=1 makes them fail instead
	@missing=$$(.ci/missing | paste -sd' '); [ -z "$$missing" ] || \
		echo "== WARNING: tests that need these are SKIPPED, install them: $$missing"

rivals: # what bench/target's tests start beside ours, but for Debian's packages, which need root
	bench/rivals/install python node go

test-go: short ## Go tests, black-box ones included; the short pass counts allocations, which the race detector forbids
	$(GOTEST) -race -shuffle=on -timeout 20m ./...

test-python: .venv/installed ## tests of clients/python
	cd clients/python && ../../$(PY) -m pytest -q

.venv/installed: clients/python/pyproject.toml
	@python=$$(.ci/newest-python) && echo "== virtual environment made with $$python" && "$$python" -m venv --clear .venv
	$(PY) -m pip install --quiet --disable-pip-version-check -e 'clients/python[test]'
	@touch $@

test-js: ## tests of clients/js
	cd clients/js && if [ -f package-lock.json ]; then npm ci --no-audit --no-fund --silent; fi && npm test --silent

short: ## the fast tests: none that starts other programs
	$(GOTEST) -short $$(go list ./... | grep -v -e /server/e2e -e '/bench$$' -e /bench/target)

race: ## Go tests without the black-box ring, with the race detector
	$(GOTEST) -race -shuffle=on $$(go list ./... | grep -v /server/e2e)

e2e: ## black-box tests against the built binary
	$(GOTEST) -race -v -timeout 20m ./server/e2e

portable: ## the tests of server and the black-box tests with every socket in portable mode, which make test does where modes differ
	GATECAST_TEST_MODE=portable $(GOTEST) -v -timeout 40m ./server ./server/e2e

autobahn: ## every case of the Autobahn test suite, also the slow ones that make test leaves out
	GATECAST_TEST_AUTOBAHN=all go test -v -timeout 40m -run '^TestAutobahn$$' ./server/e2e

matrix: ## logins of every Django, session engine and backend, of which make test takes a pairwise choice; about 20 minutes on 2 cores
	GATECAST_TEST_MATRIX=all go test -v -timeout 60m -run '^(TestMatrix|TestPackages)$$' ./server/e2e

SOAK ?= 30m

soak: ## users come, go and misbehave for SOAK, which make test does for 2 minutes; nobody misses a message and nothing is left behind
	GATECAST_TEST_SOAK=$(SOAK) go test -v -timeout 4h -run '^TestSoak$$' ./server/e2e

STORM ?= 20000

storm: ## STORM sockets with Django logins come at once to two nodes, also while the database goes and comes, which make test does with 2,000
	GATECAST_TEST_STORM=$(STORM) go test -v -timeout 20m -run '^TestStorm$$' ./server/e2e

lint: ## gofmt, go vet, staticcheck
	@bad=$$(gofmt -l $$(git ls-files '*.go')); [ -z "$$bad" ] || { echo "gofmt -w $$bad"; exit 1; }
	go vet ./...
	go run $(STATICCHECK) ./...

fuzz: ## run every Fuzz function for FUZZTIME each; new crashers land in testdata/fuzz
	@set -e; grep -rl --include='*_test.go' '^func Fuzz' . | xargs -n1 dirname | sort -u | while read -r dir; do \
		for f in $$(grep -h '^func Fuzz' $$dir/*_test.go | sed 's/^func \(Fuzz[A-Za-z0-9_]*\).*/\1/'); do \
			echo "== $$dir $$f"; go test -run '^$$' -fuzz "^$$f\$$" -fuzztime $(FUZZTIME) $$dir; \
		done; \
	done

bench: build ## Go's micro benchmarks, then short loads against raw and ours; report in bin/bench/report.html
	go test -run '^$$' -bench . -benchmem -p 1 $$(go list ./... | grep -v /server/e2e)
	bin/gatecast bench suite short -out bin/bench

# Where bench-rivals writes: by day and machine, so that results of several machines stand side by side.
RESULTS ?= bench/results/$(shell date +%F)-$(shell uname -m)-$(shell nproc)cpu

bench-rivals: build ## install every rival and measure all of them side by side; report in bench/results/
	bench/rivals/install
	bin/gatecast bench suite rivals -out $(RESULTS)

bench-engine: build ## the socket engine's budgets, gatecast against raw, in about 30 minutes; fails if one is missed
	bin/gatecast bench suite engine -out $(RESULTS)-engine; engine=$$?; \
	bin/gatecast bench suite strain -out $(RESULTS)-strain && exit $$engine

docs: ## write the generated files: config.toml, server/docs/{config,codes,metrics}.md
	go run ./server/docs/gen

docs-check: docs ## fail if a generated file was not up to date
	@git diff --exit-code -- config.toml server/docs server/config/docs_gen.go || { echo "commit what make docs wrote"; exit 1; }

check: lint short docs-check ## what a reviewer runs, and the commit hook

hooks: ## run make check before every commit
	git config core.hooksPath .githooks
