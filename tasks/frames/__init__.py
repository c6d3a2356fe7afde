"""Stages of dataset_prep: extract frames from videos and write the dataset."""
