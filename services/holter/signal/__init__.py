"""Signal processing: pure functions over arrays, batched over patients."""
