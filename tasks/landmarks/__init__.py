"""The stage of landmark_extraction: from the pictures of one person to the points of body, face and hands."""
