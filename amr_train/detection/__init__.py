"""What happens when in a long recording: dense scores from an encoder's tokens, intervals made of them, and
the scorer that judges these."""
