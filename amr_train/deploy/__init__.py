"""Models in use: features, labels for raw files, other runtimes, overlays."""
