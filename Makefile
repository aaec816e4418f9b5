# Short names for the scripts; each says what it does and is safe to run again.
.PHONY: check test demo lock vectors

check: ## lint, types and import rules, without the tests
	scripts/setup --tests
	.venv/bin/ruff check .
	.venv/bin/mypy
	.venv/bin/lint-imports --no-logo

test: ## the checks and the default tests
	scripts/test

demo: ## nodes on this machine, with real areas
	scripts/demo

vectors: ## writes the test vectors anew; `git diff --exit-code tests/vectors` must stay quiet
	scripts/setup --tests
	scripts/make_vectors

lock: ## pins the packages anew, with hashes
	scripts/lock
