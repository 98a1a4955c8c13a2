"""The live feed: accepted chunks from each ingest process to the workers that judge them, without a database."""
