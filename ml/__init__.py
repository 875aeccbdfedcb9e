"""Fundus photograph analysis: segmentation, classification, explanation. Knows no Django."""
