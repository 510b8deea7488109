"""The commands amr-data and amr-train: they parse, call one library function, and print."""
