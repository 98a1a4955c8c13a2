"""`holter demo`: `holter up` with simulated patients, a receiver of alerts, and a summary of who was alerted on."""

from holter_operator.local.demo.command import demo

__all__ = ["demo"]
