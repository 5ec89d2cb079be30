# make            build/mod_wsgid.so, and .venv with pywsgid
# make run        serve conf/hello.wsgi on http://localhost:8000  (APP=path/to/app.wsgi PORT=8000 HOST=127.0.0.1)
# make test       every test, with the compiler and the tools that this machine has  (TESTS=tests/unit/cli WORKERS=4)
# make install    the module, its daemon and the pywsgid command, as root  (DESTDIR=, INSTALL_PYTHON=, PREFIX=/usr/local)
# make uninstall  removes what make install has put there
# make clean      removes what was built; make distclean also removes .venv
#
# For work on mod_wsgid itself:
#
# make generate   what derives from tables: see tools/generate/__main__.py
# make lint       the checks of style, with the versions of the tools that pyproject.toml pins
# make generated  fails if a generated file is out of date
# make analyze    compiles with warnings as errors and with gcc's analyzer; the gcc of Debian 12 is the one that has to pass
# make sanitize   build/sanitize/mod_wsgid.so with ASan and UBSan; then WSGID_SANITIZE=1 pytest
# make test-sanitized                   a short selection of tests with that build
# make fuzz       random input for the codecs and for what reads a daemon's page, random frames for httpd, at length  (FUZZ=100 SEED=2)
# make torture    random faults under load, at length  (SECONDS=300 SEED=2)
# make bench, bench-short, bench-publish    mod_wsgid and its peers, side by side  (BENCH="--only hello --rounds 3")
# make test-bench                           installs the peers and tests the bench
#
# .ci/run runs what has to pass before a change goes in. PYTHON=/path/to/python3 names the Python that .venv is made from.
# Stamps (files that begin with a dot in .venv and build) stand for steps, so that nothing is done twice.

APP ?= conf/hello.wsgi
PORT ?= 8000
HOST ?= 127.0.0.1
TESTS ?= tests

# Options of python -m bench.
BENCH ?=

VENV := .venv
BENCH_VENV := .bench-venv
export WSGID_BENCH_VENV = $(abspath $(BENCH_VENV))
PY := $(VENV)/bin/python
HERE := $(CURDIR)
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_ROOT_USER_ACTION := ignore

MODULE_SOURCES := $(wildcard mod_wsgid.c apxs/*.h apxs/*/*.c apxs/*/*.h apxs/*/*.def apxs/*/*.html) setup.py
NATIVE_SOURCES := $(wildcard apxs/common/* pywsgid/native/*.c pywsgid/native/*.h pywsgid/native/build.py) setup.py

.PHONY: all run test test-sanitized test-bench fuzz torture lint lint-ruff lint-format lint-imports lint-types format generate generated analyze sanitize bench bench-short \
	bench-publish bench-venv install uninstall clean distclean FORCE
.DELETE_ON_ERROR:

all: build/mod_wsgid.so build/pywsgid build/.native $(VENV)/.run

# -------- the environment

$(VENV)/.python: tools/prepare.sh tools/choose_python.py
	@tools/prepare.sh $(VENV)

ifneq ($(PYTHON),)
ifneq ($(shell cat $(VENV)/.python 2>/dev/null),$(shell command -v "$(PYTHON)"))
$(VENV)/.python: FORCE
endif
endif

$(VENV)/.build: $(VENV)/.python pyproject.toml tools/requirements.py
	@echo "pip: what the build and the daemon need"
	@$(PY) tools/requirements.py build > $@.txt && $(PY) tools/requirements.py run >> $@.txt
	@$(PY) -m pip install -q -r $@.txt
	@touch $@

$(VENV)/.test: $(VENV)/.build tools/prepare.sh
	@echo "pip: what the tests need"
	@$(PY) tools/requirements.py test > $@.txt
	@$(PY) -m pip install -q -r $@.txt
	@tools/prepare.sh --browser
	@touch $@

$(VENV)/.lint: $(VENV)/.build
	@echo "pip: what the checks need"
	@$(PY) tools/requirements.py lint > $@.txt
	@$(PY) -m pip install -q -r $@.txt
	@touch $@

# What tests/dropin compares with, not from pip's cache: there it may be linked with another Python of the same version. Where
# it cannot be built, those tests are skipped; `make clean` makes it try again.
build/.peer: | $(VENV)/.test
	@echo "pip: what tests/dropin compares with"
	@mkdir -p build
	@$(PY) tools/requirements.py peer > $@.txt
	@PATH="$$PATH:/usr/sbin" $(PY) -m pip install -q --no-cache-dir --no-deps --target build/peer -r $@.txt >$@.log 2>&1 || \
		echo "  (not available here: see $@.log)"
	@touch $@

# pywsgid is linked into .venv by itself, not by a line in a .pth file: its neighbours in the checkout are nobody's modules.
$(VENV)/.run: $(VENV)/.build
	@ln -sfn "$(HERE)/pywsgid" "$$($(PY) -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/pywsgid"
	@printf '#!/bin/sh\nexec "$$(dirname "$$0")/python" -I -m pywsgid "$$@"\n' > $(VENV)/bin/pywsgid
	@chmod +x $(VENV)/bin/pywsgid
	@touch $@

# -------- what is compiled

# The default interpreter of the module. The module must outlive this checkout, so it is the one that .venv was made from.
MODULE_PYTHON = $(shell cat $(VENV)/.python)

build/mod_wsgid.so: $(MODULE_SOURCES) | $(VENV)/.build
	@echo "apxs: $@"
	@$(PY) setup.py -q build_module --output "$(HERE)/$@" --python "$(MODULE_PYTHON)"
	@touch $@

# The module finds its daemon at pywsgid/daemon/boot.py beside itself.
build/pywsgid:
	@mkdir -p build
	@ln -sfn ../pywsgid $@

# Renamed into place: daemons may run from the extension that is there.
build/.native: $(NATIVE_SOURCES) | $(VENV)/.build
	@mkdir -p build
	@test ! -e pywsgid/native/build.py || { echo "cffi: pywsgid/_native"; \
		$(PY) setup.py -q build_ext --force --build-temp build/native --build-lib build/native/lib && \
		mv -f build/native/lib/pywsgid/_native*.so pywsgid/; }
	@touch $@

# -------- run

run: all
	@$(PY) -m pywsgid serve --host "$(HOST)" --port "$(PORT)" -- "$(APP)"

# -------- checks

# Modules of tests run side by side, each within one worker. Tests wait more than they compute: one worker more than cores.
WORKERS ?= $(shell cores=$$(nproc 2>/dev/null || echo 1); echo $$((cores < 7 ? cores + 1 : 8)))
PYTEST := $(PY) -m pytest -q -n $(WORKERS) --dist loadfile --no-loadscope-reorder

test: all $(VENV)/.test build/.peer
	@$(PYTEST) $(TESTS)

# What has found faults in C that nothing else did, within a minute.
SANITIZED := $(addprefix tests/httpd/test_,bodies.py files.py hostile.py truncation.py) tests/hostile

test-sanitized: all sanitize $(VENV)/.test
	@echo "pytest with ASan and UBSan: $(SANITIZED)"
	@WSGID_SANITIZE=1 $(PYTEST) $(SANITIZED)

SECONDS ?= 300
SEED ?= 1
FUZZ ?= 100

# Random input for the codecs and, with ASan, for what reads a daemon's page and a daemon's frames: FUZZ times as much as in
# `make test`. SEED is where that of the sanitized codec begins.
fuzz: all sanitize $(VENV)/.test
	@WSGID_FUZZ=$(FUZZ) WSGID_FUZZ_SEED=$(SEED) $(PYTEST) -o timeout=0 tests/wire
	@WSGID_FUZZ=$(FUZZ) WSGID_SANITIZE=1 $(PYTEST) -o timeout=0 tests/hostile/test_page_fuzz.py tests/hostile/test_fuzz_response.py

torture: all $(VENV)/.test
	@WSGID_TORTURE_SECONDS=$(SECONDS) WSGID_TORTURE_SEED=$(SEED) $(PY) -m pytest -q tests/httpd/test_torture.py

# The checks that `make lint` consists of. To add one: a target lint-NAME below, and its name here.
LINT := lint-ruff lint-format lint-imports lint-types

lint: $(LINT)

lint-ruff: $(VENV)/.lint
	@echo "ruff check"
	@$(PY) -m ruff check -q .

C_FILES = $(shell git ls-files '*.c' '*.h' 2>/dev/null)

lint-format: $(VENV)/.lint
	@echo "ruff format, clang-format"
	@$(PY) -m ruff format -q --check . || { echo "run make format"; exit 1; }
	@$(VENV)/bin/clang-format --dry-run -Werror $(C_FILES) || { echo "run make format"; exit 1; }

lint-imports: $(VENV)/.python
	@echo "rooms and circles"
	@$(PY) tools/check_imports.py

lint-types: $(VENV)/.lint
	@echo "mypy"
	@$(PY) -m mypy --no-error-summary pywsgid
	@$(PY) -m mypy --no-error-summary --explicit-package-bases tools/generate

format: $(VENV)/.lint
	@$(PY) -m ruff format -q .
	@$(VENV)/bin/clang-format -i $(C_FILES)

generate: $(VENV)/.build
	@$(PY) -m tools.generate

# What is generated must be what is checked in.
generated: $(VENV)/.build
	@echo "tools/generate --check"
	@$(PY) -m tools.generate --check

analyze: build/analyze/mod_wsgid.so

# The compiler is apxs's; a newer one may warn where the one that has to pass does not.
ANALYZED_WITH := 12
build/analyze/mod_wsgid.so: $(MODULE_SOURCES) | $(VENV)/.build
	@compiler=$$($(PY) setup.py -q compiler) && echo "gcc -Wall -Wextra -Werror -fanalyzer: $$compiler" && \
		case "$$compiler" in *" $(ANALYZED_WITH)."*) ;; \
		*) echo "  (only gcc $(ANALYZED_WITH), as in Debian 12, has to pass: another compiler may find more)" ;; esac
	@$(PY) setup.py -q build_module --strict --analyze --output "$(HERE)/$@" --python "$(MODULE_PYTHON)"
	@touch $@

sanitize: build/sanitize/mod_wsgid.so build/sanitize/pywsgid

build/sanitize/mod_wsgid.so: $(MODULE_SOURCES) | $(VENV)/.build
	@echo "apxs: $@"
	@$(PY) setup.py -q build_module --sanitize --output "$(HERE)/$@" --python "$(MODULE_PYTHON)"
	@touch $@

build/sanitize/pywsgid:
	@mkdir -p build/sanitize
	@ln -sfn ../../pywsgid $@

# -------- bench

bench: all bench-venv
	@$(BENCH_VENV)/bin/python -m bench $(BENCH)

test-bench: all bench-venv $(VENV)/.test
	@$(PY) -m pytest -q -m bench tests/httpd/test_bench.py

# Shows that the bench works; asserts no time.
bench-short: all bench-venv
	@$(BENCH_VENV)/bin/python -m bench --short $(BENCH)

# All of it, on a machine with nothing else to do, into docs/performance.{md,json,svg}.
bench-publish: all bench-venv
	@$(BENCH_VENV)/bin/python -m bench --publish $(BENCH)

bench-venv: $(BENCH_VENV)/.ready

# The peers run on the Python that .venv was made from, too.
$(BENCH_VENV)/.ready: $(VENV)/.python pyproject.toml tools/requirements.py
	@echo "pip: the peers, into $(BENCH_VENV)"
	@cmp -s $(VENV)/.python $(BENCH_VENV)/.python || "$$(cat $(VENV)/.python)" -m venv --clear $(BENCH_VENV)
	@cp $(VENV)/.python $(BENCH_VENV)/.python
	@$(PY) tools/requirements.py bench > $@.txt
	@$(BENCH_VENV)/bin/python -m pip install -q -r $@.txt
	@tools/prepare.sh --load
	@touch $@

# -------- install

INSTALL_PYTHON ?= $(MODULE_PYTHON)
PREFIX ?= /usr/local

# What is built here is installed; nothing is compiled again, unless INSTALL_PYTHON names another interpreter.
install: all
	@DESTDIR="$(DESTDIR)" PREFIX="$(PREFIX)" INSTALL_PYTHON="$(INSTALL_PYTHON)" tools/install.sh install

uninstall:
	@DESTDIR="$(DESTDIR)" PREFIX="$(PREFIX)" tools/install.sh uninstall

clean:
	rm -rf build dist *.egg-info pywsgid/_native*.so pywsgid/_native.c pywsgid/mod_wsgid.so

distclean: clean
	rm -rf $(VENV) $(BENCH_VENV)
