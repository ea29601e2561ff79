# make sweep | make test | make setup | make lint | make bench | make didactic-smoke | make didactic | make math-smoke
# | make math | make clean.
# Needs Python >= 3.11 and make, nothing else;
# make report-check needs a headless Chromium besides.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
OUT ?= out/sweep
REQUIREMENTS := pyproject.toml constraints.txt

.PHONY: setup sweep test lint bench didactic didactic-smoke math math-smoke report-check clean
.DELETE_ON_ERROR:

setup: $(VENV)/.installed

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python >= 3.11 is needed; set PYTHON=..." >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: $(VENV)/bin/python $(REQUIREMENTS)
	$(PIP) install --quiet -c constraints.txt -e .
	@touch $@

$(VENV)/.installed-llm: $(VENV)/.installed $(REQUIREMENTS)
	$(PIP) install --quiet -c constraints.txt -e '.[llm]'
	@touch $@

$(VENV)/.installed-all: $(VENV)/.installed $(REQUIREMENTS)
	$(PIP) install --quiet -c constraints.txt -e '.[dev,llm,serving,embeddings,cluster,docs]'
	@touch $@ $(VENV)/.installed-llm $(VENV)/.installed-serving

# A server with OpenAI's interface (transformers serve), for math-smoke alone.
$(VENV)/.installed-serving: $(VENV)/.installed-llm $(REQUIREMENTS)
	$(PIP) install --quiet -c constraints.txt -e '.[llm,serving]'
	@touch $@

# Resumes its own output; a finished sweep is only reported again.
sweep: $(VENV)/.installed
	$(BIN)/python -m sim.sweep --horizon 1..512 --out $(OUT) --resume

test: $(VENV)/.installed-all
	$(BIN)/python -m pytest -n auto --dist loadscope

lint: $(VENV)/.installed-all
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

bench: $(VENV)/.installed
	$(BIN)/python -m benchmarks.sweep

# The GPT-2 experiment: every stage in one tiny setting (minutes), and the recorded one (hours; each resumes its own).
didactic-smoke: $(VENV)/.installed-llm
	$(BIN)/python -m llm_validation.gpt2_planted --recipe smoke --out out/didactic-smoke --resume

didactic: $(VENV)/.installed-llm
	$(BIN)/python -m llm_validation.gpt2_planted --recipe laptop --out out/didactic --resume

# The mathematics experiment: every stage with a random Llama, its attempts written by a real local server (minutes);
# and the recorded one with SmolLM2-135M-Instruct (hours; PROBLEMS: its recipe's files of problems, see docs/math.md).
math-smoke: $(VENV)/.installed-serving
	test -d out/math-tiny || $(BIN)/python -m llm_validation.sampling.tiny out/math-tiny
	$(BIN)/python tests/local_server.py out/math-tiny -- $(BIN)/python -m llm_validation.llama_math --recipe smoke \
		--out out/math-smoke --resume --endpoint {url} --endpoint-model out/math-tiny

math: $(VENV)/.installed-llm
	$(BIN)/python -m llm_validation.llama_math --recipe smollm2 --out out/math --resume

# Opens REPORT (default: reports of made-up diagnoses) in Chromium, wide and narrow, light and dark.
report-check: $(VENV)/.installed
	$(BIN)/python tests/browser/check_report.py $(REPORT)

clean:
	rm -rf $(VENV) out build *.egg-info
