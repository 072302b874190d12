"""What can go wrong with the demo model for reasons an operator can mend."""

from __future__ import annotations

from serving.errors import ServingError


class DemoModelError(ServingError):
    """Prompts, training, evaluation or manifest of the demo model cannot go on."""
