"""Sources of frames: the only room, with `detect.letterbox`, that knows OpenCV."""
