"""Files from elsewhere: asked for with patience, resumed, kept in a folder that processes share. Knows no stage."""
