"""Many runs: `grid` makes configurations from one, `run_all` trains them in several processes of this machine, `tabulate`
puts the runs into a table with what they differ in, `spread` says how each fact varies within the cells of that table, and
`compare` and `trend` say whether its settings differ, by exact permutation, and `peaks` whether a curve over them rises;
`ends` are the errors of a run at its last and its best step, and `means` are means over runs with their errors.
What is finished is kept, what was stopped goes on, and a run that fails costs no other.

Names are loaded when first used; `grid` and `plan` are those of their modules.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from interp.study.comparison import compare, trend
    from interp.study.end import ends, means
    from interp.study.engine import Outcome, run_all
    from interp.study.peak import peaks
    from interp.study.plan import Plan
    from interp.study.table import spread, tabulate

_HOME = {
    "Outcome": "interp.study.engine",
    "run_all": "interp.study.engine",
    "Plan": "interp.study.plan",
    "ends": "interp.study.end",
    "means": "interp.study.end",
    "peaks": "interp.study.peak",
    "compare": "interp.study.comparison",
    "spread": "interp.study.table",
    "tabulate": "interp.study.table",
    "trend": "interp.study.comparison",
}

__all__ = ["Outcome", "Plan", "compare", "ends", "means", "peaks", "run_all", "spread", "tabulate", "trend"]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    raise AttributeError(f"module 'interp.study' has no attribute {name!r}")
