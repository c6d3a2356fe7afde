"""Programs that open users' files, each in a child process with limits of time and memory."""
