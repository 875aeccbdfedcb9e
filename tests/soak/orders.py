"""What the harness can tell the product's processes to do once, by names of empty files."""

KILL_BEFORE_WRITE = "kill-web-before-write"
KILL_AFTER_WRITE = "kill-web-after-write"
PAUSE_AFTER_WRITE = "pause-web-after-write"
# Ends the pause.
GO_ON = "go-on"
# The folder of notes of the processes that run a job.
RUNNING = "running"
