"""From figures to alerts: conditions each second (rules), their life (life), in words (words)."""

from holter.inference.decision.decide import Decision
from holter.inference.decision.limits import Limits

__all__ = ["Decision", "Limits"]
