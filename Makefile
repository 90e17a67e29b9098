# What a person types here. Everything missing is installed by the step that needs it, from the usual registries.

CARGO ?= cargo
CONFIG ?= gateway.json
TARGET := wasm32-wasip2
TOOLS := $(HOME)/.cache/gatewright/tools

.PHONY: run build dist test lint fmt bench conformance schema clean help

help: ## Shows this list.
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

run: target ## Builds the gateway and starts it on gateway.json (CONFIG=... for another file).
	$(CARGO) run --release --bin gatewright -- run $(CONFIG)

build: target ## Builds the release binary with the stock bundle inside.
	$(CARGO) build --release --bin gatewright

dist: target ## Builds what is shipped, target/dist/gatewright: optimised as one program, in twice the time.
	$(CARGO) build --profile dist --bin gatewright

test: target nextest programs oidc-provider graphql-server soap-server grpc-peers toolchains ## Runs every test.
	$(CARGO) nextest run --workspace
	$(CARGO) test --workspace --doc --quiet

lint: target deny ## Formatting, clippy with warnings as errors, dependency policy.
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	$(DENY) check bans licenses sources

fmt: ## Formats the code.
	$(CARGO) fmt --all

bench: target ## Builds the floors and the peers, measures, prints the table (needs root for apt the first time).
	tests/bench/run

conformance: target ## Runs the public suites, where SUITES=<folder> is present.
	tests/conformance/run $(SUITES)

schema: ## Writes the JSON Schema of gateway.json to docs/.
	$(CARGO) run --quiet --bin gatewright -- schema > docs/gateway.schema.json

clean:
	$(CARGO) clean

# ------------------------------------------------------------------------------------------------ what steps need

.PHONY: target nextest programs deny oidc-provider graphql-server soap-server grpc-peers toolchains python node

target:
	@rustc --print target-libdir --target $(TARGET) | xargs test -d || rustup target add $(TARGET)

nextest:
	@$(CARGO) nextest --version >/dev/null 2>&1 || $(CARGO) install --locked cargo-nextest

# What tests run beside the gateway. Without it they fail and say so.
programs:
	@tests/programs curl:curl openssl:openssl nginx:nginx redis-server:redis-server docker-registry:docker-registry

# For the tests of the plugin oidc: the provider that they sign in with, as tests/oidc/package-lock.json pins it.
oidc-provider: node
	@$(call npm-install,oidc)

# For the tests of the plugin rest-graphql: the server that they ask, as tests/graphql/package-lock.json pins it.
graphql-server: node
	@$(call npm-install,graphql)

node:
	@command -v npm >/dev/null || { apt-get update -qq && apt-get install -y -qq nodejs npm; }

python:
	@python3 -c "import venv, ensurepip" 2>/dev/null || { apt-get update -qq && apt-get install -y -qq python3-venv; }

define npm-install
cmp -s tests/$(1)/package-lock.json $(TOOLS)/$(1)/node_modules/.installed || { \
	$(call npm,$(1)) && cp tests/$(1)/package-lock.json $(TOOLS)/$(1)/node_modules/.installed; }
endef

# What the package-lock.json of a folder of the tests pins.
define npm
mkdir -p $(TOOLS)/$(1) && cp tests/$(1)/package.json tests/$(1)/package-lock.json $(TOOLS)/$(1)/ && \
	npm ci --silent --no-audit --no-fund --prefix $(TOOLS)/$(1)
endef

# What its requirements.txt pins, in a virtual environment of this name.
define pip
python3 -m venv $(TOOLS)/$(2) && \
	$(TOOLS)/$(2)/bin/pip install --quiet --disable-pip-version-check --requirement tests/$(1)/requirements.txt
endef

# For the tests of the plugin xml-json: the server that they ask, as tests/soap/requirements.txt pins it.
soap-server: python
	@cmp -s tests/soap/requirements.txt $(TOOLS)/soap/.installed || { \
		$(call pip,soap,soap) && cp tests/soap/requirements.txt $(TOOLS)/soap/.installed; }

# For the tests of the plugins for gRPC: clients from npm, and Python's grpcio, as the files in tests/grpc pin them.
grpc-peers: node python
	@cat tests/grpc/package-lock.json tests/grpc/requirements.txt | cmp -s - $(TOOLS)/grpc/.installed || { \
		$(call npm,grpc) && $(call pip,grpc,grpc/python) && \
		cat tests/grpc/package-lock.json tests/grpc/requirements.txt > $(TOOLS)/grpc/.installed; }

# For the tests of services: components of wasi:http that componentize-py and componentize-js make of the sources in tests/toolchains.
toolchains: node python
	@diff -rq tests/toolchains $(TOOLS)/toolchains/of >/dev/null 2>&1 || { \
		rm -rf $(TOOLS)/toolchains/of && $(call npm,toolchains) && $(call pip,toolchains,toolchains/python) && \
		tests/toolchains/build $(TOOLS)/toolchains && cp -r tests/toolchains $(TOOLS)/toolchains/of; }

DENY := $(TOOLS)/bin/cargo-deny
deny:
	@test -x "$(DENY)" || $(CARGO) install --quiet --locked --root $(TOOLS) cargo-deny@0.20.2
