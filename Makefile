# make course   run the solved lessons and write build/site/       make lab    JupyterLab on notebooks/
# make test     everything that must hold before a commit          make site   only the pages of build/site/ (STUDENTS=1: unsolved)
# make notebooks  write notebooks/ and the README's table from lessons/
# make bench      measure speeds (DEVICE=cuda for a GPU) and write them into the README
# make remote     take the course's address from the git remote (for Colab)
# make release    what goes to students and markers (LESSON=09; STUDENT_REPO=folder writes a public repository)
# make grade SUBMISSIONS=path LESSON=09   marks, feedback and a summary; make formgrader: marks by hand
# make cell PYTHON=python3.13 PACKAGES=newest    the tests in an environment of their own: a cell of the weekly matrix
#
# An environment that already has PyTorch: make course VENV=/path/to/it (nothing that fits is changed there).

PYTHON ?= python3
VENV ?= .venv
WORKERS ?= 2

PY := $(VENV)/bin/python
READY := $(VENV)/.course-ready
# Our own environment gets the tested versions; somebody else's only what it lacks.
LOCK := $(if $(filter .venv,$(VENV)),-c requirements.lock)
NBVAL := --nbval-lax --nbval-current-env --nbval-cell-timeout=600
# In this order: what is quick comes first, and students' notebooks find the codes that the solved ones left.
TESTING := $(NBVAL) -n $(WORKERS) --dist loadscope --no-loadscope-reorder

# In a container one is root, and Jupyter wants to be told that this is meant.
AS_ROOT := $(if $(filter 0,$(shell id -u)),--allow-root)

.PHONY: bench course lab test cell notebooks site remote release grade formgrader test-grading test-lessons lint clean
.DEFAULT_GOAL := course

$(READY): requirements.txt requirements-dev.txt requirements.lock
	@test -x $(PY) || $(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if v >= (3, 11) else "This is Python %d.%d: the course needs 3.11 or later. Name another with: make PYTHON=python3.12" % v[:2])'
	@test -x $(PY) || $(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo "No environment could be made: on Debian and Ubuntu, install python3-venv."; exit 1; }
	@echo "Installing the packages into $(VENV): some minutes the first time"
	@$(PY) -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt $(LOCK)
	@touch $@

course: $(READY)
	@$(PY) -m tools.run_course

lab: $(READY)
	@$(PY) -m jupyterlab $(AS_ROOT) --notebook-dir=notebooks

# Several processes share the cores here, so threads that wait for one another had better sleep (benchmarks/waiting.py).
test cell test-grading test-lessons: export GOMP_SPINCOUNT = 0

test: $(READY)
	@$(PY) -m tools.build_notebooks --solved build/solved
	@$(PY) -m pytest $(TESTING) tests build/solved notebooks

# A cell of the matrix: PACKAGES is locked, newest, lowest (the bounds of requirements.txt) or colab (its versions).
# TESTS=tests leaves the lessons out.
PACKAGES ?= locked
TESTS ?= tests build/solved notebooks
CELL := .venv-$(notdir $(PYTHON))-$(PACKAGES)
CHOICE_locked := -c requirements.lock
CHOICE_newest := --upgrade
CHOICE_lowest := --resolution lowest-direct
CHOICE_colab := -c .github/colab.txt
cell:
	@test -n "$(CHOICE_$(PACKAGES))" || { echo "PACKAGES is $(PACKAGES): it must be locked, newest, lowest or colab."; exit 1; }
	@$(PYTHON) -m venv --clear $(CELL) && $(CELL)/bin/python -m pip install --quiet --disable-pip-version-check uv
	@$(CELL)/bin/uv pip install --quiet --python $(CELL)/bin/python $(CHOICE_$(PACKAGES)) -r requirements-dev.txt
	@$(CELL)/bin/python -m tools.build_notebooks --solved build/solved
	@$(CELL)/bin/python -m pytest $(TESTING) $(TESTS)

notebooks: $(READY)
	@$(PY) -m tools.build_notebooks
	@$(PY) -m tools.readme
	@$(PY) -m tools.coverage

site: $(READY)
	@$(PY) -m tools.site $(if $(STUDENTS),--students)

remote: $(READY)
	@$(PY) -m tools.remote
	@$(MAKE) --no-print-directory notebooks

release: $(READY)
	@$(PY) -m tools.release $(LESSON) $(if $(STUDENT_REPO),--student-repo "$(STUDENT_REPO)")

# Through the environment, as it was written: make would expand a $ in it, and the shell end at a quote.
override PATTERN := $(value PATTERN)
export PATTERN
grade: $(READY)
	@test -n "$(SUBMISSIONS)" || { echo "Which submissions? make grade SUBMISSIONS=the.zip LESSON=09"; exit 1; }
	@$(PY) -m grading "$(SUBMISSIONS)" $(if $(LESSON),--lesson $(LESSON)) $(if $(JOBS),--jobs $(JOBS))

formgrader: $(READY)
	@cd build/grading 2>/dev/null || { echo "There is nothing to mark: run make grade first."; exit 1; }
	@cd build/grading && PATH="$(abspath $(VENV))/bin:$$PATH" $(abspath $(PY)) -m jupyterlab $(AS_ROOT) --LabApp.default_url=/formgrader/gradebook

test-grading: $(READY)
	@$(PY) -m pytest -m sweep -s tests/test_grading.py

test-lessons: $(READY)
	@$(PY) -m pytest -m sweep -n $(WORKERS) tests/test_lessons.py

bench: $(READY)
	@failed=; for part in training step waiting codes heads augment processes time_to_accuracy growth explorers; do \
	  COURSE_DEVICE=$(DEVICE) $(PY) benchmarks/$$part.py || failed="$$failed $$part"; done; \
	$(PY) -m tools.readme; [ -z "$$failed" ] || { echo "These failed:$$failed"; exit 1; }

lint: $(READY)
	@$(PY) -m ruff check . && $(PY) -m ruff format --check .

clean:  # but marks that were given by hand
	@[ ! -d build ] || find build -mindepth 1 -maxdepth 1 ! -name grading -exec rm -rf {} +
