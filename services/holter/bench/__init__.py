"""What the stream path costs, by stage. A stage is a function that measures and returns a frozen dataclass."""
