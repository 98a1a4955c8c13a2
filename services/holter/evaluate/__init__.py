"""How good the detection is, on annotated records, by the field's protocol: docs/evaluation.md."""
