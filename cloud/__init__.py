"""The cloud: windows over events, a store for them, and the API that serves them."""
