"""The networks: shared layers and encoder, and the methods built on them."""
