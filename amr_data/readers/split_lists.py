"""Lists of clip names, such as the `split` of PYSKL's pickles holds, paired to train/test rules by what they
are called."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from pydantic import ValidationError

from amr_data.specs import Protocol, first_problem

_ROLE = re.compile(r"(?i)(?<![a-z])(train(?:ing)?|test(?:ing)?|val(?:id(?:ation)?)?)(?![a-z])")
_BETWEEN = "_-. "


def paired(lists: Mapping[str, Sequence[str]]) -> dict[str, Protocol]:
    """Rules from lists of clip names.

    `xsub_train` and `xsub_val` (or `xsub_test`) make the rule xsub; `train1` and `test1` make split1; plain
    `train` and `val` make split. Of three lists, `xsub_val` beside `xsub_test` is the validation part.
    Raises: ValueError, naming the lists, where one of them has no role, or no counterpart.
    """
    groups: dict[str, dict[str, str]] = {}
    for name in lists:
        rule, role = _rule_and_role(name)
        if role in groups.setdefault(rule, {}):
            raise ValueError(f"the lists {groups[rule][role]} and {name} are the same part of one split")
        groups[rule][role] = name
    rules = {}
    for rule, roles in groups.items():
        if "train" not in roles or len(roles) < 2:
            alone = ", ".join(roles.values())
            raise ValueError(
                f"no split comes out of {alone}; the lists are {', '.join(lists)}, and go in pairs such as "
                f"train and test, or xsub_train and xsub_val"
            )
        test = roles["test"] if "test" in roles else roles["val"]
        validation = lists[roles["val"]] if len(roles) == 3 else []
        try:
            rules[rule] = Protocol(
                by="name",
                train=list(lists[roles["train"]]),
                test=list(lists[test]),
                validation=list(validation),
            )
        except ValidationError as error:
            raise ValueError(f"split {first_problem(error, rule)}") from None
    return rules


def _rule_and_role(name: str) -> tuple[str, str]:
    found = _ROLE.search(name)
    if found is None:
        raise ValueError(f"the list {name} is neither called train nor test nor val, as xsub_train would be")
    parts = [name[: found.start()].strip(_BETWEEN), name[found.end() :].strip(_BETWEEN)]
    rule = "_".join(p for p in parts if p)
    role = next(r for r in ("train", "test", "val") if found[0].lower().startswith(r))
    return f"split{rule}" if not rule or rule.isdigit() else rule, role
