"""The upload service: users without shell access upload a video, start a flow on it, and download the result."""
