"""Results of a single box in one SQLite file: one writer (the worker), any number of readers (the API).

Everything that one batch changes is one transaction: panes, cameras, the memory of seen events, the position in the
log, and the row of `updates` that the live feed reads. After a crash the store says exactly how far the worker came.

The file is opened with `synchronous = NORMAL`: a crash of the process loses nothing; a power cut may take the last
transactions, whole ones, newest first. Then the worker reads the same entries of the log again, so the log must still
have them, and a salvage of a damaged log must copy them. Therefore the worker reports to the log only what
`writer.Store.make_durable` has carried to the disk. That costs one checkpoint now and then; `synchronous = FULL` would
wait for the disk at every batch, on the way from the frame to the screen.
"""
