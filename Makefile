# Everything a person does with this project is one of these. `make` alone lists them.
PYTHON ?= python3
BIN := .venv/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)

.DEFAULT_GOAL := help
.PHONY: help setup book labs release collect grade appeal feedback check test lint measure serve tarball clean

help:  ## list what can be made
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

setup: $(BIN)/.installed  ## the virtual environment in .venv, with everything pinned

$(BIN)/.installed: requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Python 3.11 or newer is needed, this is " + sys.version.split()[0])'
	@echo "Setting up .venv: about a minute, and 2 GB on disk, most of it PyTorch."
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --disable-pip-version-check --quiet -r requirements.txt
	@$(BIN)/python -m pip install --disable-pip-version-check --quiet --no-deps -e .
	@command -v bwrap > /dev/null || echo "To mark what learners hand in, Linux and bubblewrap are needed (apt-get install bubblewrap libseccomp2); nothing else needs them."
	@touch $@

node_modules/.installed: package.json package-lock.json .npmrc $(BIN)/.installed
	@echo "Fetching what the pages load in the browser."
	@npm ci --silent --no-progress
	@touch $@

book: $(BIN)/.installed node_modules/.installed  ## build the whole site into _build/html; EDITION=instructor: with solutions, into _build/instructor
	@$(BIN)/python -m tools.book $(if $(EDITION),--edition $(EDITION))

labs: $(BIN)/.installed  ## generate labs/ from solutions/, and run both
	@$(BIN)/python -m tools.labs

release: $(BIN)/.installed  ## LAB=02-vanishing: enter a lab in the gradebook, and pack what learners get
	@$(BIN)/python tools/grade.py release "$(LAB)"

collect: $(BIN)/.installed  ## LAB=02-vanishing ZIP=submissions.zip ROSTER=roster.csv: what a learning platform gave, into submitted/
	@$(BIN)/python tools/grade.py collect "$(LAB)" $(if $(ZIP),--zip "$(ZIP)") $(if $(ROSTER),--roster "$(ROSTER)") $(if $(ZONE),--zone "$(ZONE)")

grade: $(BIN)/.installed  ## LAB=02-vanishing: mark what is new in submitted/, into grades/; STUDENT=ann: one learner again
	@$(BIN)/python tools/grade.py grade "$(LAB)" $(if $(STUDENT),"$(STUDENT)")

appeal: $(BIN)/.installed  ## LAB=02-vanishing STUDENT=ann: show the cases, the learner's answers and the right ones
	@$(BIN)/python tools/grade.py appeal "$(LAB)" $(if $(STUDENT),"$(STUDENT)")

feedback: $(BIN)/.installed  ## LAB=02-vanishing: a page for each learner, and the tables with marks given by hand
	@$(BIN)/python tools/grade.py feedback "$(LAB)"

# A test that needs none of these is quick: see the markers in pyproject.toml.
NEEDY := browser or site or grader or notebook or long
PYTEST := $(BIN)/python -m pytest -n 3 --dist loadfile

check: lint  ## within a minute: lint, types, and the tests that need no browser, grader or notebook
	@$(PYTEST) -q -m "not ($(NEEDY))" tests

# nbval first: what the labs give there the book shows and the tests read, so that each runs once.
test: lint  ## every test, on the built site too
	@$(PYTEST) -p tests.helpers.notebooks --nbval-lax --nbval-current-env --nbval-cell-timeout 120 labs solutions
	@$(MAKE) --no-print-directory book
	@$(PYTEST) tests

lint: $(BIN)/.installed
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --quiet --check .
	@$(BIN)/mypy --no-error-summary

measure: $(BIN)/.installed node_modules/.installed  ## measure anew what the repository keeps of long measurements
	@$(BIN)/python -m tools.measure

serve: book  ## look at the site on http://localhost:8000
	@$(BIN)/python -m http.server 8000 --bind 127.0.0.1 --directory _build/html

tarball: book  ## the site as one file, with its checksum and the size of everything in it
	@$(BIN)/python tools/tarball.py

clean:  ## remove everything that was built; the virtual environment stays
	@rm -rf _build book/assets/offline
