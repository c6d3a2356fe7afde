"""Taking away what lies over a picture: true pixels where they shine through, the likeliest ones where they do not."""
