"""The kernel: what all tiers must agree on. It imports no tier."""

__version__ = "0.1.0"
