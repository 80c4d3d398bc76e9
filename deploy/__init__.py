"""What puts the tiers together: the `countline` command, the single box, the demo."""
