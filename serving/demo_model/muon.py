"""Muon: momentum whose matrix updates are orthogonalised, so every direction learns at the same pace.

Newton-Schulz iteration with the quintic coefficients of Jordan et al. (2024); runs in the vLLM environment.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any, Final

import torch

NEWTON_SCHULZ_STEPS: Final = 5
NEWTON_SCHULZ_COEFFICIENTS: Final = (3.4445, -4.7750, 2.0315)


class Muon:
    """Updates of 2-D weights and of stacks of them (experts x rows x columns); equal shapes go as one batch."""

    def __init__(self, parameters: list[Any], lr: float, momentum: float) -> None:
        self.lr, self.momentum = lr, momentum
        by_shape: dict[tuple[int, int], list[Any]] = defaultdict(list)
        for parameter in parameters:
            by_shape[tuple(parameter.shape[-2:])].append(parameter)
        self._groups = [
            (group, torch.zeros(sum(p.numel() for p in group)).view(-1, *shape)) for shape, group in by_shape.items()
        ]

    def step(self, scale: float) -> None:
        """Apply one update from the gradients, at `scale` times the base learning rate."""
        with torch.no_grad():
            for group, velocity in self._groups:
                rows, columns = velocity.shape[-2:]
                gradient = torch.cat([p.grad.view(-1, rows, columns) for p in group])
                velocity.mul_(self.momentum).add_(gradient)
                update = orthogonalise(gradient + self.momentum * velocity)
                update *= -self.lr * scale * max(1.0, rows / columns) ** 0.5
                for parameter, part in zip(group, update.split([p.numel() // (rows * columns) for p in group])):  # noqa: B905  split() yields one part per parameter
                    parameter.add_(part.view_as(parameter))


def orthogonalise(matrices: Any) -> Any:  # noqa: ANN401  torch is not installed where types are checked
    """The nearest semi-orthogonal matrix, roughly, to each of `matrices` (batch x rows x columns)."""
    a, b, c = NEWTON_SCHULZ_COEFFICIENTS
    tall = matrices.shape[-2] > matrices.shape[-1]
    x = matrices.mT if tall else matrices
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(NEWTON_SCHULZ_STEPS):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.mT if tall else x
