"""The cheapest look inside a replay: does the batch's own NaN go into a module and come out of it?"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from supervisor.training.modules import named_modules
from supervisor.training.norms import flaws
from supervisor.training.tree import all_tensors

__all__ = ["Probe"]


class _Seen(Exception):
    """Ends a replay that has shown what it was run for."""


@dataclass(slots=True)
class Probe:
    """Watches a replay for the first NaN that goes into a module and comes out of it, and ends it there.

    Attributes:
        model: whose modules are watched.
        module: the qualified name of that module, None where there was none.
    """

    model: nn.Module
    module: str | None = field(default=None, init=False)

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Hooks on every module, and none of them afterwards."""
        handles = [
            module.register_forward_hook(self._leave(name), with_kwargs=True)
            for name, module in named_modules(self.model)
        ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def loss(self, compute: Callable[[Any], Tensor]) -> Callable[[Any], Tensor]:
        """`compute` as it is: the modules tell enough."""
        return compute

    def _leave(self, name: str) -> Callable[..., None]:
        def hook(module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
            if "nan" in flaws(all_tensors(output)) and "nan" in flaws(all_tensors(args), all_tensors(kwargs)):
                self.module = name
                raise _Seen

        return hook
