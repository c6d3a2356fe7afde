"""Downloads with retries and resume, kept in a folder that processes share. Independent of any stage."""
