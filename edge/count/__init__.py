"""Counting: tracks become crossings, occupancy and visits. Pure; time is an argument."""
