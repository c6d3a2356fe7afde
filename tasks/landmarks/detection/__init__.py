"""Finding landmarks in pictures: MediaPipe, and a second look for hands that it lost."""
