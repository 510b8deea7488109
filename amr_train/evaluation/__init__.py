"""How good an encoder is: one `evaluate` for all, a module a protocol."""
