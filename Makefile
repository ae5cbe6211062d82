# `make run` and `make test` need cargo, Python 3 and a C++ compiler; everything
# else comes into the cache folder (docs/setup.md). `make help` lists the targets.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

PYTHON ?= python3
# Cargo.lock is what was tested; `make CARGO_FLAGS= build` lets cargo change it.
CARGO_FLAGS ?= --locked

CACHE := $(or $(GLEANER_CACHE),$(if $(XDG_CACHE_HOME),$(XDG_CACHE_HOME)/gleaner,$(HOME)/.cache/gleaner))
# Cargo uses every core by itself; the steps here stand on each other.
.NOTPARALLEL:

# What set-up found, for every command that builds or runs the program.
ENV := . "$(CACHE)/env.sh" &&
SETUP := $(PYTHON) tools/setup.py

# Real collections for measuring; nothing in `make test` needs them.
ifneq ($(wildcard ../shared/data/.),)
export GLEANER_BENCH_DATA ?= $(abspath ../shared/data)
endif

# Without them there is nothing to build for: the measurements skip with a message.
BENCH_BUILD := $(if $(GLEANER_BENCH_DATA),$(if $(wildcard $(GLEANER_BENCH_DATA)/.),build))

# $(call step,name,commands): runs the commands and says how long they took.
define step
@echo "== $(1)"; started=$$SECONDS; status=0; ( $(2) ) || status=$$?; \
echo "== $(1): $$((SECONDS - started)) s"; exit $$status
endef

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z][a-z%-]*:.*## ' Makefile | sed -E 's/:[^#]*## /\t/' | while IFS=$$'\t' read -r target text; do printf '  make %-16s %s\n' "$$target" "$$text"; done

.PHONY: setup
setup: ## bring libraries, weights and RocksDB into the cache folder
	$(call step,set-up,$(SETUP))

.PHONY: build
build: setup ## build bin/gleaner (release) and the models
	$(call step,build,$(ENV) cargo build --release $(CARGO_FLAGS))
	$(call step,models,$(ENV) $(SETUP) models --binary "$$CARGO_TARGET_DIR/release/gleaner")
	@$(ENV) $(SETUP) launcher --binary "$$CARGO_TARGET_DIR/release/gleaner"

.PHONY: run
run: build ## load the sample, serve it and answer a question (ONCE=1: then stop)
	@$(PYTHON) tools/run.py $(if $(filter-out 0,$(ONCE)),--once)

.PHONY: test
test: setup test-tools check check-crates models-for-tests ## everything that must pass before a commit
	$(call step,tests,$(ENV) cargo test $(CARGO_FLAGS))

.PHONY: check
check: setup ## formatting and lints
	$(call step,formatting,cargo fmt --check)
	$(call step,lints,$(ENV) cargo clippy $(CARGO_FLAGS) --all-targets -- -D warnings)

# What deny.toml says of licences, bans and sources needs no network; cargo-deny need not be there.
.PHONY: check-crates
check-crates: ## licences, bans and sources of every crate, where cargo-deny is installed; offline
	$(call step,crates,if command -v cargo-deny > /dev/null; then $(DENY) --offline check bans licenses sources; \
		else echo "skipped: cargo-deny is not installed (make audit says how)"; fi)

# Its own version, because another may read deny.toml otherwise.
DENY := cargo deny --locked --log-level error
.PHONY: audit
audit: ## the above and known advisories, whose database is fetched
	@command -v cargo-deny > /dev/null || { echo "audit stopped: there is no cargo-deny; cargo install --locked cargo-deny@0.20.2" >&2; exit 1; }
	$(call step,licences and bans and sources,$(DENY) --offline check bans licenses sources)
	$(call step,advisories,$(DENY) fetch db || { \
		echo "audit stopped: the database of advisories cannot be fetched$(comma) so that NO advisory was compared; everything else is well" >&2; exit 1; }; \
		$(DENY) check --disable-fetch advisories)

.PHONY: check-deploy
check-deploy: setup ## the unit, the Dockerfile and the chart of deploy/, by their own tools; fetches these once
	$(call step,deploy,$(ENV) $(PYTHON) tools/check_deploy.py --binary "$$CARGO_TARGET_DIR/debug/gleaner")

# A build of its own with counters in it; FUZZ_TARGETS for some, as in FUZZ_TARGETS="filter query".
FUZZ_SECONDS ?= 600
.PHONY: fuzz
fuzz: setup ## each fuzz target for FUZZ_SECONDS; writes reports/fuzz.json
	$(call step,fuzz,$(ENV) $(PYTHON) tools/fuzz.py --seconds $(FUZZ_SECONDS) --target-dir "$$CARGO_TARGET_DIR/fuzz" $(FUZZ_TARGETS))

# Of what `make build` has made. The configuration is written where there is none yet.
PREFIX ?= /usr/local
.PHONY: install
install: ## copy program, library, models and unit to PREFIX (/usr/local) and /etc, below DESTDIR
	@$(ENV) install -D -m 0755 "$$CARGO_TARGET_DIR/$(or $(PROFILE),release)/gleaner" "$(DESTDIR)$(PREFIX)/bin/gleaner"
	@$(ENV) install -D -m 0644 "$$ORT_DYLIB_PATH" "$(DESTDIR)$(PREFIX)/lib/gleaner/libonnxruntime.so"
	@install -d "$(DESTDIR)$(PREFIX)/share/gleaner/models" "$(DESTDIR)/etc/gleaner"
	@cp -r "$(CACHE)"/models/* "$(DESTDIR)$(PREFIX)/share/gleaner/models/"
	@install -D -m 0644 deploy/systemd/gleaner.sysusers "$(DESTDIR)/etc/sysusers.d/gleaner.conf"
	@install -D -m 0644 deploy/systemd/gleaner.service "$(DESTDIR)/etc/systemd/system/gleaner.service"
	@sed -i 's|/usr/local/|$(PREFIX)/|' "$(DESTDIR)/etc/systemd/system/gleaner.service"
	@if [ ! -e "$(DESTDIR)/etc/gleaner/config.toml" ]; then \
		sed 's|/usr/local/|$(PREFIX)/|' deploy/systemd/config.toml > "$(DESTDIR)/etc/gleaner/config.toml"; fi
	@$(ENV) gleaner="$$CARGO_TARGET_DIR/$(or $(PROFILE),release)/gleaner"; share="$(DESTDIR)$(PREFIX)/share"; \
		install -d "$$share/bash-completion/completions" "$$share/zsh/site-functions" "$$share/fish/vendor_completions.d"; \
		"$$gleaner" completions bash > "$$share/bash-completion/completions/gleaner"; \
		"$$gleaner" completions zsh > "$$share/zsh/site-functions/_gleaner"; \
		"$$gleaner" completions fish > "$$share/fish/vendor_completions.d/gleaner.fish"; \
		"$$gleaner" man --out "$$share/man/man1"
	@echo "installed to $(DESTDIR)$(PREFIX); next: systemd-sysusers && systemctl daemon-reload && systemctl enable --now gleaner"

.PHONY: test-tools
test-tools: ## the tests of the set-up scripts; offline
	$(call step,set-up tests,$(PYTHON) -m unittest discover --start-directory tools --pattern 'test_*.py')

# The tests search with the real models; the unoptimised binary makes them where no
# release build has done so yet.
.PHONY: models-for-tests
models-for-tests: setup
	$(call step,build for tests,$(ENV) cargo build $(CARGO_FLAGS))
	$(call step,models,$(ENV) $(SETUP) models --binary "$$CARGO_TARGET_DIR/debug/gleaner")

.PHONY: test-clients
test-clients: models-for-tests ## the official OpenAI, Cohere and MCP clients against the service; fetches them once
	$(call step,clients,$(ENV) $(PYTHON) tools/clients.py --binary "$$CARGO_TARGET_DIR/debug/gleaner")

.PHONY: check-api
check-api: models-for-tests ## every operation of /openapi.json by schemathesis, 200 examples each, twice; fetches it once
	$(call step,api,$(ENV) $(PYTHON) tools/check_api.py --binary "$$CARGO_TARGET_DIR/debug/gleaner")

.PHONY: check-console console-screenshots
check-console: models-for-tests ## the console in a real Chromium, by a user's steps and axe; fetches Playwright once
	$(call step,console,$(ENV) $(PYTHON) tools/check_console.py --binary "$$CARGO_TARGET_DIR/debug/gleaner")
console-screenshots: models-for-tests ## its pictures in docs/images
	$(call step,screenshots,$(ENV) $(PYTHON) tools/check_console.py --binary "$$CARGO_TARGET_DIR/debug/gleaner" --screenshots docs/images)

.PHONY: check-docs
check-docs: models-for-tests ## every command of README.md and docs/, page by page; writes reports/docs.json
	$(call step,docs,$(ENV) $(PYTHON) tools/check_docs.py --binary "$$CARGO_TARGET_DIR/debug/gleaner")

.PHONY: check-client
check-client: models-for-tests ## the Python package and its integrations against the service; fetches what they stand on once
	$(call step,client,$(ENV) $(PYTHON) tools/check_client.py --binary "$$CARGO_TARGET_DIR/debug/gleaner")

.PHONY: test-writers
test-writers: setup ## files of pyarrow, polars, duckdb and pandas, loaded and compared; fetches them once
	$(call step,build for tests,$(ENV) cargo build $(CARGO_FLAGS))
	$(call step,writers,$(ENV) $(PYTHON) tools/writers.py --binary "$$CARGO_TARGET_DIR/debug/gleaner")

.PHONY: test-databases
test-databases: setup ## schemas imported from PostgreSQL and MariaDB, where their packages are installed
	$(call step,build for tests,$(ENV) cargo build $(CARGO_FLAGS))
	$(call step,databases,$(ENV) $(PYTHON) tools/databases.py --binary "$$CARGO_TARGET_DIR/debug/gleaner")

.PHONY: test-generators
test-generators: setup training-env ## encoder-decoder models exported by optimum, beside PyTorch; fetches the exporter once
	$(call step,generators,$(ENV) $(PYTHON) tools/generators.py --packages "$(CACHE)/training-venv")

# A build of its own, minutes the first time: nothing else here needs the engine.
.PHONY: check-ballista
check-ballista: models-for-tests ## units of encoding on two Ballista executors, one of them killed, against encoding here; builds Ballista once
	$(call step,build of ballista/,$(ENV) cargo build $(CARGO_FLAGS) --manifest-path ballista/Cargo.toml --target-dir "$$CARGO_TARGET_DIR/ballista")
	$(call step,tests of ballista/,$(ENV) cargo test $(CARGO_FLAGS) --manifest-path ballista/Cargo.toml --target-dir "$$CARGO_TARGET_DIR/ballista")
	$(call step,S3 server,$(ENV) cargo build $(CARGO_FLAGS) --example s3_server)
	$(call step,ballista,$(ENV) $(PYTHON) tools/check_cluster.py ballista --binary "$$CARGO_TARGET_DIR/debug/gleaner" --engine "$$CARGO_TARGET_DIR/ballista/debug/gleaner-ballista" --s3-server "$$CARGO_TARGET_DIR/debug/examples/s3_server")

.PHONY: check-ray
check-ray: models-for-tests ## the same on two workers of Ray; fetches it once
	$(call step,ray,$(ENV) $(PYTHON) tools/check_cluster.py ray --binary "$$CARGO_TARGET_DIR/debug/gleaner")

.PHONY: eval-keys
eval-keys: setup ## how many of the foreign keys of Spider's training databases are inferred, and how many rightly
	@$(ENV) cargo test $(CARGO_FLAGS) --lib sql::infer -- --ignored --nocapture

# mdBook comes from its source, minutes the first time.
MDBOOK := $(CACHE)/mdbook/bin/mdbook
.PHONY: book
book: setup ## docs/ as a book in book/; builds mdBook once
	$(call step,mdbook,$(ENV) test -x "$(MDBOOK)" || cargo install mdbook --version =0.5.4 --locked --quiet \
		--no-default-features --features search --root "$(CACHE)/mdbook" --target-dir "$$CARGO_TARGET_DIR/mdbook")
	$(call step,book,"$(MDBOOK)" build)

.PHONY: schemas
schemas: setup ## regenerate schemas/ and the references in docs/ from the code
	@$(ENV) GLEANER_REGENERATE=1 cargo test $(CARGO_FLAGS) --test it -- schemas:: reference::
	@$(ENV) GLEANER_REGENERATE=1 cargo test $(CARGO_FLAGS) --lib -- cli::tests::the_reference

.PHONY: bench-search
bench-search: $(BENCH_BUILD) ## searches split into their stages, and by 1 to 256 callers beside LanceDB and Chroma; writes reports/{search,serving}.json
	@$(if $(BENCH_BUILD),$(ENV)) $(PYTHON) tools/measure.py bench search
	@$(if $(BENCH_BUILD),$(ENV)) $(PYTHON) tools/bench_serving.py load --markdown docs/benchmarks.md

.PHONY: soak
soak: $(BENCH_BUILD) ## half an hour of searches and writes at once: whether memory stays flat; writes reports/soak.json
	@$(if $(BENCH_BUILD),$(ENV)) $(PYTHON) tools/bench_serving.py soak

.PHONY: bench-ingest
bench-ingest: $(BENCH_BUILD) ## speed and memory of bulk loading; writes reports/ingest.json
	@$(if $(BENCH_BUILD),$(ENV)) $(PYTHON) tools/measure.py bench ingest

.PHONY: bench-loading
bench-loading: $(BENCH_BUILD) ## LanceDB, Chroma and Milvus Lite load and answer the same; writes reports/loading.json and a table of docs/benchmarks.md
	@$(if $(BENCH_BUILD),$(ENV)) $(PYTHON) tools/bench_loading.py --markdown docs/benchmarks.md

.PHONY: bench-recovery
bench-recovery: $(BENCH_BUILD) ## writing, restarting, giving back the disk, a million documents; writes reports/recovery.json
	@$(if $(BENCH_BUILD),$(ENV)) $(PYTHON) tools/measure.py bench recovery

.PHONY: bench-encoders
bench-encoders: $(BENCH_BUILD) ## encoding under mixed load, beside its peers; writes reports/embeddings.json
	@$(if $(BENCH_BUILD),$(ENV)) $(PYTHON) tools/bench_encoders.py

.PHONY: bench-rerank
bench-rerank: $(BENCH_BUILD) ## re-ranking beside bare ONNX Runtime; writes reports/rerank.json
	@$(if $(BENCH_BUILD),$(ENV)) $(PYTHON) tools/measure.py bench rerank

# Its databases are made: no collection is needed.
.PHONY: bench-schema
bench-schema: build ## questions to a catalogue of 200 databases with 100,000 columns; writes reports/schema.json
	@$(ENV) cargo bench $(CARGO_FLAGS) --bench schema

.PHONY: bench-code
bench-code: build ## functions parsed and featurised a second; writes reports/code.json
	@$(ENV) cargo bench $(CARGO_FLAGS) --bench code

.PHONY: bench-entities
bench-entities: $(BENCH_BUILD) ## a catalog of millions of names, beside an fst; writes reports/entities.json
	@$(if $(BENCH_BUILD),$(ENV)) $(PYTHON) tools/measure.py bench entities

.PHONY: bench-vectors
bench-vectors: $(BENCH_BUILD) ## vector search beside its peers; writes reports/vectors.json
	@$(if $(BENCH_BUILD),$(ENV)) $(PYTHON) tools/measure.py vectors --markdown docs/benchmarks.md

.PHONY: eval-batching
eval-batching: $(BENCH_BUILD) ## whether a vector depends on its batch; writes reports/eval-batching.json
	@$(if $(BENCH_BUILD),$(ENV)) $(PYTHON) tools/measure.py bench batching

.PHONY: eval-schema
eval-schema: $(BENCH_BUILD) ## what is kept of a schema for a question; writes reports/eval-schema.json and the tables of docs/schemas.md
	@$(if $(BENCH_BUILD),$(ENV)) $(PYTHON) tools/eval_schema.py --markdown docs/schemas.md

.PHONY: eval-values eval-which
eval-values: build ## what cell values bring, on SQLite databases that it makes; writes reports/eval-values.json and a table of docs/schemas.md
	@$(ENV) $(PYTHON) tools/eval_values.py values --markdown docs/schemas.md
eval-which: $(BENCH_BUILD) ## how often the database of a question is found among all; writes reports/eval-which.json and a table of docs/schemas.md
	@$(if $(BENCH_BUILD),$(ENV)) $(PYTHON) tools/eval_values.py which --markdown docs/schemas.md

# With the generator that is shipped, where one is; GENERATOR= for none.
GENERATOR ?= $(if $(wildcard models/gleaner-generator/.),gleaner-generator)
ENTITIES := tools/eval_entities.py
.PHONY: eval-entities fit-entities
eval-entities: $(BENCH_BUILD) ## which entities mentions mean; writes reports/eval-entities.json and the tables of docs/entities.md
	@$(if $(BENCH_BUILD),$(ENV)) $(PYTHON) $(ENTITIES) evaluate --generator "$(GENERATOR)" --markdown docs/entities.md
fit-entities: $(BENCH_BUILD) ## how much each measure of linking counts; writes src/entity/link/weights.toml
	@$(if $(BENCH_BUILD),$(ENV)) $(PYTHON) $(ENTITIES) fit --generator "$(GENERATOR)"

.PHONY: eval-code
eval-code: $(BENCH_BUILD) ## CoSQA through the service: words, vectors and both; writes reports/eval-code.json
	@$(if $(BENCH_BUILD),$(ENV)) $(PYTHON) tools/eval_code.py

.PHONY: eval-scifact eval-nfcorpus eval-cranfield eval-cacm
eval-scifact: $(BENCH_BUILD) ## retrieval quality on SciFact; writes reports/eval-scifact.json
	@$(PYTHON) tools/measure.py eval scifact
eval-nfcorpus: $(BENCH_BUILD) ## the same on NFCorpus (dev)
	@$(PYTHON) tools/measure.py eval nfcorpus --split dev
eval-cranfield: $(BENCH_BUILD) ## the same on Cranfield
	@$(PYTHON) tools/measure.py eval cranfield
eval-cacm: $(BENCH_BUILD) ## the same on CACM
	@$(PYTHON) tools/measure.py eval cacm

# The default fusion. Indexes and features are kept in the cache folder; remove
# $(CACHE)/fusion when the encoder changes.
FUSION := tools/eval_fusion.py
FUSION_FLAGS = --work "$(CACHE)/fusion" --packages "$(CACHE)/training-venv"

.PHONY: train-fusion eval-fusion eval-clicks
train-fusion: $(BENCH_BUILD) training-env ## fit the default fusion on training splits; writes src/combine/default.toml
	@$(PYTHON) $(FUSION) train $(FUSION_FLAGS)
eval-fusion: $(BENCH_BUILD) ## both legs and every fusion on five collections; writes reports/eval-fusion.json
	@$(PYTHON) $(FUSION) evaluate $(FUSION_FLAGS)
eval-clicks: $(BENCH_BUILD) ## what is learned from biased clicks; writes reports/eval-clicks.json
	@$(PYTHON) $(FUSION) clicks $(FUSION_FLAGS)

.PHONY: crash-test
crash-test: setup ## kills the server 200 times while it is written to; writes reports/crash.json
	@mkdir -p reports
	@$(ENV) GLEANER_KILLS=$${GLEANER_KILLS:-200} GLEANER_POWER_LOSSES=$${GLEANER_POWER_LOSSES:-40} \
		GLEANER_CRASH_REPORT="$(CURDIR)/reports/crash.json" \
		cargo test $(CARGO_FLAGS) --test it -- crash:: --nocapture
	@cat reports/crash.json

.PHONY: kill-test
kill-test: setup ## kills a load of 50,000 documents 20 times; writes reports/jobs.json
	@mkdir -p reports
	@$(ENV) GLEANER_JOB_KILLS=$${GLEANER_JOB_KILLS:-20} GLEANER_JOBS_REPORT="$(CURDIR)/reports/jobs.json" \
		cargo test $(CARGO_FLAGS) --test it -- jobs::a_long_job --nocapture

# Python with PyTorch, apart from everything else: only training needs it.
TRAINING := $(CACHE)/training-venv
TRAIN := PYTHONPATH=training "$(TRAINING)/bin/python" -m encoders

.PHONY: training-env
training-env: ## install what training needs into the cache folder (6 GB with torch's libraries)
	@if ! cmp -s training/requirements.txt "$(TRAINING)/installed.txt"; then \
		$(PYTHON) -m venv "$(TRAINING)"; \
		"$(TRAINING)/bin/pip" install --quiet --requirement training/requirements.txt; \
		cp training/requirements.txt "$(TRAINING)/installed.txt"; \
	fi
	@$(SETUP) training

.PHONY: test-training
test-training: training-env ## the tests of training: poolings, losses, exports, small runs
	$(call step,training tests,"$(TRAINING)/bin/python" -m unittest discover --top-level-directory training --start-directory training/tests)

# Every step goes on where it was stopped; what is there already is not made again.
.PHONY: train-encoders
train-encoders: setup training-env ## train and measure the poolings over frozen layers, and what each costs; writes docs/encoders.md (an hour on two cores)
ifeq ($(BENCH_BUILD),)
	@echo "skipped: GLEANER_BENCH_DATA names no folder; it holds the collections to train and measure on"
else
	$(call step,the encoder as it is,$(TRAIN) report --base)
	$(call step,poolings,$(TRAIN) compare training/recipes/poolings.toml --seeds 3)
	$(call step,speed,$(TRAIN) speed)
	@$(TRAIN) table --into docs/encoders.md
endif

.PHONY: train-encoders-whole
train-encoders-whole: setup training-env ## the same with the whole encoder trained, the runs that are not in training/measured yet: minutes on a GPU, days without
ifeq ($(BENCH_BUILD),)
	@echo "skipped: GLEANER_BENCH_DATA names no folder; it holds the collections to train and measure on"
else
	$(call step,poolings,$(TRAIN) grid training/recipes/whole.toml)
	@$(TRAIN) table --into docs/encoders.md
endif

LINK := PYTHONPATH=training "$(TRAINING)/bin/python" -m linkers
LINKERS := $(CACHE)/training/linkers
.PHONY: train-linker
train-linker: $(BENCH_BUILD) training-env ## train the linker of schemas and what combines it with the rest; writes models/gleaner-linker and src/sql/link/combination-cross.json.gz (two hours on two cores)
ifeq ($(BENCH_BUILD),)
	@echo "skipped: GLEANER_BENCH_DATA names no folder; it holds the questions to train on"
else
	$(call step,the first half,$(LINK) train training/recipes/linker.toml --set without=0 --out "$(LINKERS)/without-0")
	$(call step,the second half,$(LINK) train training/recipes/linker.toml --set without=1 --out "$(LINKERS)/without-1")
	$(call step,combination,$(ENV) PYTHONPATH=training "$(TRAINING)/bin/python" -m linkers.stack "$(LINKERS)" \
		--binary bin/gleaner --base "$(CACHE)/sources/all-MiniLM-L6-v2" --out src/sql/link/combination-cross.json.gz)
	$(call step,export,$(LINK) export --out "$(LINKERS)/without-0" --to models/gleaner-linker)
endif

GENERATE := PYTHONPATH=training "$(TRAINING)/bin/python" -m generators
GENERATOR_RUN := $(CACHE)/training/generators/run
.PHONY: train-generator
train-generator: setup training-env ## train the generator of entities' names; writes models/gleaner-generator (an hour on two cores)
ifeq ($(BENCH_BUILD),)
	@echo "skipped: GLEANER_BENCH_DATA names no folder; it holds the mentions and names to train on"
else
	$(call step,train,$(GENERATE) train training/recipes/generator.toml --out "$(GENERATOR_RUN)")
	$(call step,measure,$(GENERATE) measure --evaluate 1 --out "$(GENERATOR_RUN)")
	$(call step,export,$(GENERATE) export --out "$(GENERATOR_RUN)" --to models/gleaner-generator)
endif

CODE := PYTHONPATH=training "$(TRAINING)/bin/python" -m coders
.PHONY: train-coder
train-coder: build training-env ## train the network over syntax and what it is compared with; writes models/gleaner-code (hours on two cores; fetches packages)
ifeq ($(BENCH_BUILD),)
	@echo "skipped: GLEANER_BENCH_DATA names no folder; it holds what must not be trained on, and what is measured on"
else
	$(call step,functions,$(CODE) collect)
	$(call step,graphs and states,$(CODE) prepare)
	$(call step,runs,OMP_NUM_THREADS=1 $(CODE) compare training/recipes/coder.toml --seeds 3)
	$(call step,export,$(CODE) export --to models/gleaner-code)
	@$(CODE) table --into docs/code.md
endif

# The same: candidates, a run's checkpoint and the runs of the study stay where they are.
RERANK := PYTHONPATH=training "$(TRAINING)/bin/python" -m rerankers
RERANKER ?= reranker-long
# What it goes on from.
RERANKER_FIRST ?= reranker-cpu
RERANKER_RUNS := $(CACHE)/training/rerankers/runs
RERANKER_RUN := $(RERANKER_RUNS)/$(RERANKER)
# What the weight against the service's own first stage is chosen on.
RERANKER_HELD := scifact nfcorpus graph-docstrings
comma := ,
.PHONY: train-rerankers
train-rerankers: build training-env ## train and measure the re-ranker and the study of docs/rerankers.md (hours on two cores)
ifeq ($(BENCH_BUILD),)
	@echo "skipped: GLEANER_BENCH_DATA names no folder; it holds the collections to train and measure on"
else
	$(call step,candidates,$(RERANK) prepare training/recipes/$(RERANKER_FIRST).toml training/recipes/$(RERANKER).toml)
	$(call step,the first part,test -f "$(RERANKER_RUNS)/$(RERANKER_FIRST)/chosen-0.safetensors" || { \
		$(RERANK) train training/recipes/$(RERANKER_FIRST).toml --out "$(RERANKER_RUNS)/$(RERANKER_FIRST)"; \
		$(RERANK) choose --out "$(RERANKER_RUNS)/$(RERANKER_FIRST)"; })
	$(call step,train,test -f "$(RERANKER_RUN)/run.json" || $(RERANK) train training/recipes/$(RERANKER).toml --out "$(RERANKER_RUN)")
	$(call step,choose,$(RERANK) choose --out "$(RERANKER_RUN)" --scale 0.35 --depth 50)
	$(call step,measure,$(RERANK) report --out "$(RERANKER_RUN)")
	$(call step,export,$(RERANK) export --out "$(RERANKER_RUN)" --to models/gleaner-reranker)
	$(call step,model,$(ENV) $(SETUP) models --binary "$$CARGO_TARGET_DIR/release/gleaner")
	$(call step,held-out queries,$(RERANK) held --out "$(RERANKER_RUN)" --to "$(RERANKER_RUN)/held")
	$(call step,what the service says of them,for name in $(RERANKER_HELD); do \
		bin/gleaner eval retrieval --beir "$(RERANKER_RUN)/held/$$name" --split held --modes hybrid$(comma)rerank \
			--reranker gleaner-reranker --rerank-weight 1 --run-dir "$(RERANKER_RUN)/served/$$name"; done)
	$(call step,the weight,$(RERANK) served --out "$(RERANKER_RUN)" --collections "$(RERANKER_RUN)/held" --runs "$(RERANKER_RUN)/served")
	$(call step,export with the weight,$(RERANK) export --out "$(RERANKER_RUN)" --to models/gleaner-reranker)
	$(call step,study,$(RERANK) study training/recipes/study-small.toml --seeds 3 --out training/measured/rerankers/study-small)
	@$(RERANK) table --into docs/rerankers.md
endif

.PHONY: clean
clean: ## remove what was built here; downloads and RocksDB stay in the cache
	@if [ -f "$(CACHE)/env.sh" ]; then $(ENV) cargo clean; fi
	rm -rf bin
	@# What took hours to measure is added to, not made anew.
	@if [ -d reports ]; then find reports -mindepth 1 -maxdepth 1 ! -name encoders -exec rm -rf {} +; fi
