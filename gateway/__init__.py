"""The gateway: admits events once, keeps them durably, and forwards them."""
