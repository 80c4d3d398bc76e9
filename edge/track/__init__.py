"""Tracking: detections of single frames become tracks. Pure; time is an argument."""
