"""The protocols, each in a file of its own; one more is found through an entry point of the group
`amr_train.protocols` or as `package.module:Class`.

Transfer is no protocol: it is any of them on another dataset than the encoder was trained on.
"""

from __future__ import annotations

from amr_data import UsageError
from amr_data.errors import unknown
from amr_data.extensions import extension_names, load_extension
from amr_train.evaluation.protocols.base import Protocol, Result
from amr_train.evaluation.protocols.detect import Detect
from amr_train.evaluation.protocols.finetune import Finetune
from amr_train.evaluation.protocols.knn import Knn
from amr_train.evaluation.protocols.linear import Linear
from amr_train.evaluation.protocols.logistic import Logistic
from amr_train.evaluation.protocols.retrieval import Retrieval
from amr_train.evaluation.protocols.semi import Semi
from amr_train.evaluation.protocols.supervised import Supervised

GROUP = "amr_train.protocols"
PROTOCOLS: dict[str, Protocol] = {
    protocol.name: protocol
    for protocol in (
        Linear(),
        Logistic(),
        Knn(),
        Retrieval(),
        Finetune(),
        Supervised(),
        Semi(),
        Detect(),
    )
}

__all__ = ["PROTOCOLS", "Protocol", "Result", "protocol_named", "protocol_names"]


def protocol_named(name: str) -> Protocol:
    """A protocol by its name. Raises: UsageError where there is none."""
    if name in PROTOCOLS:
        return PROTOCOLS[name]
    kind = load_extension(GROUP, name, Protocol)  # type: ignore[type-abstract]
    if kind is None:
        raise UsageError(unknown("protocol", name, protocol_names()))
    found = kind()
    if not isinstance(getattr(found, "name", None), str) or not found.name or found.name in PROTOCOLS:
        raise UsageError(f"{name} must have a name of its own, unlike {', '.join(PROTOCOLS)}")
    return found


def protocol_names() -> list[str]:
    """Names of the shipped protocols, and of those that are installed beside them."""
    return [*PROTOCOLS, *extension_names(GROUP)]
