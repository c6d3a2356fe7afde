"""The landmarks stage of landmark_extraction: landmarks of body, face and hands from images of one person."""
