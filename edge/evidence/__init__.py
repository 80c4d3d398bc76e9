"""What a picture says by itself: whether it can be counted on, and whether it is worth the detector's time. Pure."""
