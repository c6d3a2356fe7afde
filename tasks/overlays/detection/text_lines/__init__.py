"""Lines of text that come and go, such as subtitles."""
