"""Writes what derives from the tables in the sources, or with --check says what is out of date
(exit code 1). `make generate` and `make generated` run it from the root of the tree, as
python -m tools.generate.

    pywsgid/wire/table.py        ->  apxs/common/wire_table.h and process_abi.h,
                                     pywsgid/native/hotpath_table.h, pywsgid/wire/process_abi.py
                                     and hotpath_abi.py, a section of pywsgid/wire/protocol.py,
                                     tables of docs/design.md
    pywsgid/__init__.py          ->  apxs/version.h
    apxs/config/options.def      ->  docs/reference/options.md, pywsgid/wire/options.py and
                                     daemon_options.py
    apxs/config/directives.def   ->  docs/reference/directives.md, pywsgid/wire/directives.py
    docs/errors.d/*.md           ->  docs/errors.md, each WSGIDnnnn of the sources exactly once
    state tables in C and Python ->  their pictures in docs/design.md
    pywsgid/cli/serve/serve_options.py, options.py  ->  docs/reference/serve.md

Tables are read strictly: what is not understood is an error, never skipped. Standard library only.
"""

from __future__ import annotations

import sys

from tools.generate import (
    agreement,
    c_headers,
    design,
    directives,
    errors,
    options,
    python_modules,
    serve,
)
from tools.generate.output import Pages, TableError, bring_up_to_date

GENERATORS = (options, directives, errors, c_headers, python_modules, design)


def generate(check: bool) -> list[str]:
    """Brings all files up to date, or only looks. The problems."""
    agreement.check()
    found: Pages = {}
    for generator in GENERATORS:
        found |= generator.pages()
    problems = errors.problems() + bring_up_to_date(found, check)
    return problems + bring_up_to_date(serve.pages(), check)


def main(arguments: list[str]) -> int:
    check = arguments == ["--check"]
    if arguments and not check:
        print(__doc__, file=sys.stderr)
        return 2
    try:
        problems = generate(check)
    except TableError as error:
        problems = [str(error)]
    for problem in problems:
        print(f"generate: {problem}", file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
