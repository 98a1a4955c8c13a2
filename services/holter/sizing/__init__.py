"""`holter size`: from measured figures to replicas, cores, memory, InfluxDB nodes and disk."""
