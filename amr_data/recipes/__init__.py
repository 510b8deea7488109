"""From a raw clip to what lies in a shard: clean-up, normalisation, motion statistics."""
