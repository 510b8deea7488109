"""Shards: layout, writer and reader of converted datasets."""
