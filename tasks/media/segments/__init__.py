"""One video, many segments, one video: cut by frames, worked on apart, joined without a lost or shifted frame."""
