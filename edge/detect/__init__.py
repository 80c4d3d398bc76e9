"""Pure parts of detection: fitting pictures into a model, reading boxes out of its answer."""
