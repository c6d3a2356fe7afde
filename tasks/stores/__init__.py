"""Object stores behind one interface: S3, GCS, Azure, SFTP, web servers. Only the engine uses it."""
