"""Edge agents: capture, detect, track, count, and an outbox that publishes over MQTT."""
