"""From shards to batches on the device: views of clips by index arithmetic, and a plain torch dataset."""
