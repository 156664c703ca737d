# `make run` and `make test` set up all that they need in .venv: Python 3.11 or later and a C compiler are enough.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# The compiler's own runtime has to be loaded before Python.
SANITIZED = ROUTER_SANITIZE=1 ASAN_OPTIONS=detect_leaks=0 PYTHONMALLOC=malloc LD_PRELOAD=$(shell $(CC) -print-file-name=libasan.so)
CONFIG ?= keyroute.toml
# More words for the command that is run: `make run ARGS="--port 9000"`, `make test ARGS="-k twilio"`.
ARGS ?=

.PHONY: run test lint bench bench-baseline bench-load crash-test consent-test delivery-test number-test sanitize clean

run: $(VENV)/installed data/secrets
	@echo "When it serves, try in another terminal:"
	@echo "  $(BIN)/keyroute sink          # prints the events as they are delivered"
	@echo "  README.md, 'A first message'  # the curl lines that make some"
	$(BIN)/keyroute serve --config $(CONFIG) $(ARGS)

# Several files at a time; then, with nothing beside them, those that measure how long something takes.
test: $(VENV)/installed-test
	$(BIN)/python -m pytest --numprocesses auto --dist loadfile -m "not alone" $(ARGS) || [ $$? -eq 5 ]
	$(BIN)/python -m pytest -m alone $(ARGS) || [ $$? -eq 5 ]

lint: $(VENV)/installed-test $(VENV)/installed-bench $(VENV)/installed-lint
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	PATH="$(abspath $(BIN)):$$PATH" cython-lint router/_core.pyx router/core/*.pxi

bench: $(VENV)/installed-test $(VENV)/installed-bench
	$(BIN)/python -m pytest bench $(ARGS)

# Records the ratios that `make bench` compares with: on a quiet machine, and with the reason in the commit.
bench-baseline: $(VENV)/installed-test $(VENV)/installed-bench
	$(BIN)/python -m pytest bench --record-baseline $(ARGS)

# The whole product under load, some 30 minutes; ARGS="accept latency" runs some of it. Writes bench/results/load.{json,html}.
bench-load: $(VENV)/installed-test $(VENV)/installed-bench
	$(BIN)/python -m bench.load $(ARGS)

# The whole of it: 50 kills. `make test` does a few.
crash-test: $(VENV)/installed-test
	$(BIN)/python -m pytest tests/test_crash.py --kills 50 -s $(ARGS)

# The whole of it: 10,000 histories, an hour or two. `make test` tells a few; ARGS="--seed N" repeats a run.
consent-test: $(VENV)/installed-test
	$(BIN)/python -m pytest tests/test_consent_model.py --histories 10000 -s -o faulthandler_timeout=0 $(ARGS)

# The whole of it: 100,000 texts of 5,000 people, some five minutes. `make test` delivers a few.
delivery-test: $(VENV)/installed-test
	$(BIN)/python -m pytest tests/test_delivery_faults.py --texts 100000 -s -o faulthandler_timeout=0 $(ARGS)

# The whole of it: 20 million numbers, some 20 minutes. `make test` compares a few.
number-test: $(VENV)/installed-test
	$(BIN)/python -m pytest tests/test_number_equality.py --numbers 20000000 -s -o faulthandler_timeout=0 $(ARGS)

# The tests of the compiled core under the address sanitizer of gcc: some three minutes. The core is built again at the end;
# if a test fails, by whatever is made next.
sanitize: $(VENV)/installed-test
	rm -f $(VENV)/installed
	$(SANITIZED) $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	$(SANITIZED) $(BIN)/python -m pytest $(ARGS) --numbers 50000 tests/test_core_text.py tests/test_core_forms.py \
		tests/test_numbers.py tests/test_number_equality.py tests/test_addresses.py tests/test_phrases.py tests/test_rules.py
	$(MAKE) $(VENV)/installed

clean:
	rm -rf $(VENV) build dist *.egg-info router/_core.c router/_core.*.so router/language/phrases/*.automaton

$(VENV)/installed: pyproject.toml setup.py router/_core.pyx router/numbering.py $(wildcard router/core/*.pxi router/language/*.py router/language/*.tsv router/language/phrases/*.toml)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "keyroute needs Python 3.11 or later; name one with make PYTHON=…")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@# What was compiled in is the newest: an older release that is installed would read some numbers otherwise.
	$(BIN)/python -m pip install --quiet --disable-pip-version-check \
		"phonenumbers==$$($(BIN)/python -c 'from router._core import METADATA_VERSION as version; print(version)')"
	touch $@

# Only what the extra asks for: the package itself is there already, and would be built again.
$(VENV)/installed-%: $(VENV)/installed pyproject.toml
	$(BIN)/python -c 'import tomllib; \
		extras = tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"]; \
		print(*extras["$*"], sep="\n")' > $(VENV)/requirements-$*
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --requirement $(VENV)/requirements-$*
	touch $@

# The secrets of the example configuration: known to all, good for trying only.
data/secrets:
	umask 077 && mkdir -p $@
	umask 077 && printf '0123456789abcdef0123456789abcdef' > $@/twilio-token
	umask 077 && printf 'whsec_ZXhhbXBsZS1zZWNyZXQtZm9yLXRyeWluZy1vbmx5' > $@/webhook-secret
	umask 077 && printf 'example-token-for-trying-only' > $@/api-token
