"""The stages of dataset_prep: frames out of videos, and the dataset made of them."""
